"""Heads and students of a Hub, on loopback."""

import logging

import numpy as np
import pytest
import torch
from loopback_hub import READER, Repo, files_of

import alignkit
from alignkit.aligned import AlignedEmbedder
from alignkit.errors import ArtifactError, HubError
from alignkit.hub.fetching import head_path, model_path, pinned


def same_head(one, other):
    rows = torch.eye(4)
    return torch.equal(one(rows), other(rows))


def put(hub, name, folder, branch="main", **about):
    repo = hub.repos.setdefault(name, Repo(**about))
    return repo.commit(branch, files_of(folder))


def test_a_head_is_loaded_and_nothing_else_is_fetched(hub, run):
    for name in ("pytorch_model.bin", "evil.py", "training_sample.safetensors", "head/head.pkl", "student/model.py"):
        (run / name).parent.mkdir(exist_ok=True)
        (run / name).write_bytes(b"nobody asked for this")
    put(hub, "me/head", run)
    assert same_head(alignkit.load_head("hf://me/head"), alignkit.load_head(run))
    assert set(files_of(head_path("hf://me/head"))) == {"head/head.json", "head/head.safetensors"}
    asked = " ".join(hub.asked)
    assert "evil" not in asked
    assert "bin" not in asked
    assert "pkl" not in asked


def test_a_branch_is_as_it_is_now_and_a_commit_as_it_was(hub, save_run):
    old, new = save_run(0, name="old"), save_run(1, name="new")
    first = put(hub, "me/head", old)
    assert pinned("hf://me/head") == f"hf://me/head@{first}"
    put(hub, "me/head", new)
    assert same_head(alignkit.load_head("hf://me/head"), alignkit.load_head(new))
    asked = len(hub.asked)
    assert same_head(alignkit.load_head(f"hf://me/head@{first}"), alignkit.load_head(old))
    assert len(hub.asked) == asked  # a commit never changes: nobody needs to be asked


def test_the_student_that_was_trained_with_a_head_comes_along(hub, distilled_run):
    put(hub, "me/student", distilled_run, branch="v1")
    texts = ["reset my password", "where is the parcel"]
    vectors = AlignedEmbedder.load("hf://me/student@v1").encode(texts)
    np.testing.assert_array_equal(vectors, AlignedEmbedder.load(distilled_run).encode(texts))
    fitted = alignkit.load("hf://me/student@v1")
    assert fitted.artifact.digest() == alignkit.load(distilled_run).artifact.digest()


def test_a_student_is_fetched_by_itself(hub, distilled_run):
    from alignkit.embedders.distilled import DistilledEmbedder
    from alignkit.embedders.model_folders import name_of
    from alignkit.embedders.table import TableEmbedder

    put(hub, "me/student", distilled_run)
    here = DistilledEmbedder(distilled_run)
    assert DistilledEmbedder("hf://me/student").identity("query") == here.identity("query")
    (distilled_run / "student" / "code.py").write_text("raise SystemExit")
    put(hub, "me/table", distilled_run / "student")
    table = TableEmbedder("hf://me/table@main")
    assert table.identity("query") == TableEmbedder(distilled_run / "student").identity("query")
    assert "code.py" not in files_of(model_path("hf://me/table"))
    assert name_of("hf://me/table@main") == "me/table"


@pytest.mark.parametrize("how", ["offline", "silent", "broken"])
def test_the_copy_serves_while_the_hub_does_not(how, hub, run, monkeypatch, caplog):
    from huggingface_hub import constants

    first = put(hub, "me/head", run)
    alignkit.load_head("hf://me/head")
    if how == "offline":
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    elif how == "silent":
        monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    else:
        hub.broken = 503
    with caplog.at_level(logging.WARNING, logger="alignkit"):
        assert same_head(alignkit.load_head("hf://me/head"), alignkit.load_head(run))
    assert f"going on with the copy of commit {first[:12]} that is in the cache" in caplog.text
    with pytest.raises(HubError, match="hf://me/other: .*the cache of this machine has no whole copy"):
        alignkit.load_head("hf://me/other")
    (head_path("hf://me/head") / "head" / "head.safetensors").unlink()
    with pytest.raises(HubError, match="hf://me/head: .*the cache of this machine has no whole copy"):
        alignkit.load_head("hf://me/head")


@pytest.mark.parametrize(
    ("address", "token", "words"),
    [
        (
            "hf://me/none",
            READER,
            "hf://me/none: no such repository, or a private one that is not open to you; check the",
        ),
        ("hf://me/private", "", "hf://me/private: no such repository, or a private one .* set HF_TOKEN"),
        ("hf://me/gated", READER, "hf://me/gated: the owner lets in who asks"),
        ("hf://me/head@v2", READER, "hf://me/head@v2: the repository has no such revision; give a branch, a tag or"),
    ],
)
def test_what_the_hub_refuses_is_told_in_one_line(address, token, words, hub, run, monkeypatch):
    for name, about in {"me/private": {"private": True}, "me/gated": {"gated": True}, "me/head": {}}.items():
        put(hub, name, run, **about)
    monkeypatch.setenv("HF_TOKEN", token)
    with pytest.raises(HubError, match=words) as refused:
        alignkit.load_head(address)
    assert "\n" not in str(refused.value)
    assert READER not in str(refused.value)


def test_a_repository_without_a_head_says_so(hub, distilled_run):
    put(hub, "me/table", distilled_run / "student")
    with pytest.raises(ArtifactError, match="hf://me/table: this repository holds no head.json"):
        alignkit.load_head("hf://me/table")
    with pytest.raises(ArtifactError, match="expected a run folder or its head/, or hf://me/head for a repository"):
        alignkit.load_head("me/head")

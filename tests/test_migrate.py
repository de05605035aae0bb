"""The migrate command, and embedding straight into the teacher's space."""

import json
from contextlib import closing

import numpy as np
import pytest
import torch
from fake_server import FakeServer

from alignkit.aligned import AlignedEmbedder
from alignkit.artifact import load_artifact, save_head
from alignkit.embedders.ollama import OllamaEmbedder
from alignkit.heads.linear import LinearHead
from alignkit.pairs.demo import load_demo


@pytest.fixture
def head_folder(tmp_path):
    demo = load_demo("static")
    torch.manual_seed(0)
    return save_head(LinearHead(256, 384).eval(), tmp_path / "head", student_identity=demo.origin.student_identity)


def test_an_index_is_moved(run_command, head_folder, tmp_path):
    old = np.array(load_demo("static").test.student)
    np.save(tmp_path / "old.npy", old)
    code, out, err = run_command("migrate", f"head={head_folder}", "vectors=old.npy", "out=new.npy")
    assert (code, err) == (0, "")
    assert "new.npy: 200 rows of 384 dimensions, float16" in out
    assert "the head was trained on: l2_supercat_256; an index of any other model would be wrong here" in out
    assert "200 rows read back agree with the head" in out
    assert np.load(tmp_path / "new.npy").shape == (200, 384)


def test_an_index_is_moved_as_codes(run_command, head_folder, tmp_path):
    np.save(tmp_path / "old.npy", np.array(load_demo("static").test.student))
    arguments = (f"head={head_folder}", "vectors=old.npy", "out=new.npy", "codes=int8,dims=256")
    code, out, err = run_command("migrate", *arguments)
    assert (code, err) == (0, "")
    assert "new.npy: 200 rows of the first 256 of 384 dimensions as int8, 256 bytes each" in out
    assert "encode queries with the ranges in new.ranges.npy; the mean cosine of code and vector is " in out
    assert max(map(len, out.splitlines())) <= 120
    assert np.load(tmp_path / "new.npy").dtype == np.int8


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["vectors=none.npy", "out=new.npy"], "none.npy: no such file"),
        (["vectors=old.npy"], "out is not set"),
        (["vectors=old.npy", "out=new.npy", "role=x"], "role=x: expected query or document"),
        (["vectors=old.npy", "out=old.npy/new.npy"], "old.npy could not be moved to"),
        (["vectors=old.npy", "out=old.npy"], "old.npy exists and was not made from this index"),
        (["vectors=old.npy", "out=new.npy"], "holds 5-d vectors, this head takes 256-d ones of l2_supercat_256"),
    ],
)
def test_wrong_arguments_are_one_line(arguments, words, run_command, head_folder, tmp_path):
    width = 256 if any("out=old.npy" in argument for argument in arguments) else 5
    np.save(tmp_path / "old.npy", np.ones((4, width), np.float32))
    code, out, err = run_command("migrate", f"head={head_folder}", *arguments)
    assert (code, out) == (1, "")
    assert words in err
    assert err.count("\n") == 1


def test_sentences_straight_into_the_teachers_space(run_command, head_folder, tmp_path):
    pytest.importorskip("wordllama")
    from alignkit.embedders.static import StaticEmbedder

    texts = ["reset my password", "book a table for two", "what is the weather"]
    (tmp_path / "sentences.txt").write_text("\n".join(texts) + "\n", encoding="utf-8")
    arguments = ("which=aligned", f"head={head_folder}", "sentences=sentences.txt", "save_to=made")
    for student in (["student=static"], []):  # the head's own, where none is named
        code, out, _ = run_command("embed", *arguments, *student, "dtype=float32")
        assert code == 0
        assert "the same rows in the teacher's space, 384 dimensions" in out
    index = json.loads((tmp_path / "made" / "student_index.json").read_text(encoding="utf-8"))
    made = np.load(tmp_path / "made" / "aligned.npy")[[index["rows"][text] for text in texts]]
    expected = AlignedEmbedder(load_artifact(head_folder), StaticEmbedder()).encode(texts)
    np.testing.assert_allclose(made, expected, atol=1e-5)


@pytest.mark.parametrize("bare", [False, True])
def test_once_all_is_cached_the_students_server_may_be_off(bare, run_command, tmp_path):
    (tmp_path / "sentences.txt").write_text("reset my password\nbook a table\n", encoding="utf-8")
    torch.manual_seed(0)
    with FakeServer(dim=8) as server:
        with closing(OllamaEmbedder("tiny", server.url, query_prompt="query: ")) as embedder:
            identity = embedder.identity("document")
        student = ("student=ollama", "student.model=tiny", f"student.base_url={server.url}", "student.retries=0")
        arguments = ("which=aligned", *student, "student.query_prompt=query: ", "sentences=sentences.txt")
        heads = {"head": (8, identity), "other": (8, {**identity, "digest": "another"}), "wide": (9, identity)}
        for name, (width, known) in heads.items():
            save_head(LinearHead(width, 12).eval(), tmp_path / name, student_identity=None if bare else known)
        assert run_command("embed", *arguments, "head=head", "save_to=made")[0] == 0
    before = np.load(tmp_path / "made" / "aligned.npy")
    code, out, err = run_command("embed", *arguments, "head=head", "save_to=made")
    assert code == 0, err
    assert "nothing to do, all 2 texts are cached" in out
    np.testing.assert_array_equal(np.load(tmp_path / "made" / "aligned.npy"), before)
    code, _, err = run_command("embed", *arguments, "head=wide", "save_to=made")
    assert code == 1 and "the student gives 8-d vectors, this head expects 9-d" in err
    if not bare:
        code, _, err = run_command("embed", *arguments, "head=other", "save_to=made")
        assert code == 1 and "digest: expected 'another'" in err


def test_a_server_that_is_off_and_not_remembered_is_one_line(run_command, head_folder, tmp_path):
    (tmp_path / "sentences.txt").write_text("reset my password\n", encoding="utf-8")
    student = ("student=ollama", "student.model=tiny", "student.base_url=http://127.0.0.1:9", "student.retries=0")
    arguments = ("which=aligned", *student, "sentences=sentences.txt", "save_to=made", f"head={head_folder}")
    code, out, err = run_command("embed", *arguments)
    assert (code, out) == (1, "")
    assert "127.0.0.1:9" in err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["head=head"], "which=aligned needs head=RUN_OR_HEAD and save_to=FOLDER"),
        (["save_to=made"], "which=aligned needs head=RUN_OR_HEAD and save_to=FOLDER"),
        (["head=head", "save_to=made", "student.normalize=false"], "normalize: expected True, got False"),
    ],
)
def test_embedding_with_another_student_is_refused(arguments, words, run_command, head_folder, tmp_path):
    pytest.importorskip("wordllama")
    (tmp_path / "sentences.txt").write_text("reset my password\n", encoding="utf-8")
    code, _, err = run_command("embed", "which=aligned", "student=static", "sentences=sentences.txt", *arguments)
    assert code == 1
    assert words in err

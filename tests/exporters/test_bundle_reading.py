"""Bundles that somebody else made are read safely."""

import json
import zipfile

import numpy as np
import pytest
import torch

import alignkit
from alignkit.errors import ArtifactError
from alignkit.exporters.base import export_head
from alignkit.head_files import LONGEST_DESCRIPTION_BYTES
from alignkit.heads import building, numpy_forms


@pytest.fixture
def bundle(train_head, make_job, tmp_path):
    export_head("bundle", make_job(train_head("linear")), tmp_path / "head.zip")
    return tmp_path / "head.zip"


def rewritten(bundle, change, compression=zipfile.ZIP_STORED):
    """The bundle with its entries changed by a function of their dictionary."""
    with zipfile.ZipFile(bundle) as old:
        entries = {name: old.read(name) for name in old.namelist()}
    change(entries)
    other = bundle.with_name("other.zip")
    with zipfile.ZipFile(other, "w", compression) as new:
        for name, content in entries.items():
            new.writestr(name, content)
    return other


def test_load_head_reads_a_bundle(bundle, train_head):
    rows = np.ones((2, 256), dtype=np.float32)
    head = alignkit.load_head(bundle)
    torch.testing.assert_close(head(torch.from_numpy(rows)), train_head("linear")(torch.from_numpy(rows)))


@pytest.mark.parametrize(
    "name", ["../evil", "head/../../evil", "/etc/evil", "..\\evil", "C:\\evil", "C:evil", "\\evil"]
)
def test_paths_that_lead_out_are_refused_and_nothing_is_unpacked(name, bundle, tmp_path):
    other = rewritten(bundle, lambda entries: entries.update({name: b"evil"}))
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ArtifactError, match="leads out of it"):
        alignkit.load_head(other)
    assert sorted(tmp_path.rglob("*")) == before


def test_compressed_weights_are_refused(bundle):
    with pytest.raises(ArtifactError, match="compressed"):
        alignkit.load_head(rewritten(bundle, lambda entries: None, zipfile.ZIP_DEFLATED))


def test_an_inflated_description_is_refused_unread(bundle):
    other = bundle.with_name("other.zip")
    with zipfile.ZipFile(bundle) as old, zipfile.ZipFile(other, "w") as new:
        new.writestr("head/head.safetensors", old.read("head/head.safetensors"))
        new.writestr("head/head.json", b" " * (LONGEST_DESCRIPTION_BYTES + 1), zipfile.ZIP_DEFLATED)
    with pytest.raises(ArtifactError, match="expected at most"):
        alignkit.load_head(other)


def test_an_entry_that_stands_twice_is_refused(bundle):
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(bundle, "a") as archive:
        archive.writestr("head/head.json", b"{}")
    with pytest.raises(ArtifactError, match="holds 2 entries head/head.json"):
        alignkit.load_head(bundle)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda entries: entries.pop("head/head.json"), "holds 0 entries head/head.json"),
        (lambda entries: entries.update({"head/head.json": b"{"}), "not readable as a head's description"),
        (lambda entries: entries.update({"head/head.json": b"[" * 100_000}), "not readable as a head's description"),
        (lambda entries: entries.update({"head/head.safetensors": b"12345678"}), "sha256 differs"),
        (
            lambda entries: entries.update(
                {"head/head.json": json.dumps({**json.loads(entries["head/head.json"]), "format_version": 99}).encode()}
            ),
            "format 99",
        ),
    ],
)
def test_damaged_bundles_are_one_line(change, words, bundle):
    with pytest.raises(ArtifactError, match=words) as error:
        alignkit.load_head(rewritten(bundle, change))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("kind", "arguments"),
    [
        ("mlp", {"depth": 30_000}),
        ("residual", {"depth": 10**9}),
        ("mlp", {"hidden": 10**18}),
        ("mlp", {"hidden": 10**30}),
        ("mlp", {"depth": 0}),
        ("mlp", {"dropout": "much"}),
        ("linear", {"teacher_dim": -5}),
        ("low_rank", {"rank": 10**12}),
        ("local_mixture", {"regions": 10**15}),
        ("random_features", {"features": 2**63}),
        ("confidence", {"anchors": 10**13}),
        ("linear", {"student_dim": 0}),
    ],
)
def test_sizes_that_the_weights_do_not_have_are_refused_at_once(kind, arguments, bundle, monkeypatch):
    made = []
    monkeypatch.setattr(torch.nn.Linear, "reset_parameters", lambda layer: made.append(layer))
    part = {"kind": kind, "arguments": {"student_dim": 256, "teacher_dim": 384, **arguments}}

    def ask(entries):
        description = {**json.loads(entries["head/head.json"]), "parts": {"query_head": part}}
        entries["head/head.json"] = json.dumps(description).encode()

    with pytest.raises(ArtifactError, match="do not describe a head"):
        alignkit.load_head(rewritten(bundle, ask))
    assert len(made) < 100


@pytest.mark.parametrize("error", [OverflowError("too large"), ZeroDivisionError(), MemoryError()])
def test_whatever_goes_wrong_while_building_is_one_line(error, bundle, monkeypatch):
    def fail(*arguments):
        raise error

    monkeypatch.setattr(building, "build_part", fail)
    monkeypatch.setattr(numpy_forms, "FORMS", {})  # what has a form is known to fit before it is built
    with pytest.raises(ArtifactError, match="do not describe a head") as caught:
        alignkit.load_head(bundle)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("size", [0, 10, 200, 5000])
def test_truncated_bundles(size, bundle):
    cut = bundle.with_name("cut.zip")
    cut.write_bytes(bundle.read_bytes()[:size])
    with pytest.raises(ArtifactError, match="not a readable bundle"):
        alignkit.load_head(cut)


def test_a_flipped_byte_in_the_weights_is_noticed(bundle):
    content = bytearray(bundle.read_bytes())
    content[len(content) // 2] ^= 1
    bundle.write_bytes(content)
    with pytest.raises(ArtifactError):
        alignkit.load_head(bundle)

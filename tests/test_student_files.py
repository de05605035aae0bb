"""The student beside a head, and in a bundle, which somebody else may have made."""

import shutil
import zipfile

import numpy as np
import pytest
from small_table import save_table

import alignkit
from alignkit.artifact import save_head
from alignkit.embedders.base import embed_all
from alignkit.embedders.distilled import DistilledEmbedder
from alignkit.errors import ArtifactError
from alignkit.heads.linear import LinearHead
from alignkit.student_files import MOST_FILES, find_student

TEXTS = ["reset my password"]


@pytest.fixture
def run(tmp_path):
    """Head and student of a run."""
    student = DistilledEmbedder(save_table(tmp_path / "run" / "student"))
    save_head(LinearHead(16, 4), tmp_path / "run" / "head", student_identity=student.identity())
    return tmp_path / "run"


def bundle_of(run, compression=zipfile.ZIP_STORED, **more):
    bundle = run.parent / "it.zip"
    with zipfile.ZipFile(bundle, "w", compression) as archive:
        for path in sorted(run.rglob("*")):
            if path.is_file():
                archive.write(path, path.relative_to(run).as_posix())
        for name, content in more.items():
            archive.writestr(name, content)
    return bundle


def test_it_is_found_from_the_run_from_its_head_and_from_a_bundle(run, monkeypatch):
    assert find_student(run) == find_student(run / "head") == run / "student"
    monkeypatch.chdir(run / "head")
    assert find_student(".") == run / "student"
    unpacked = find_student(bundle_of(run))
    expected = embed_all(DistilledEmbedder(run), TEXTS)
    assert np.array_equal(embed_all(DistilledEmbedder(unpacked), TEXTS), expected)
    assert alignkit.AlignedEmbedder.load(run.parent / "it.zip").encode(TEXTS).shape == (1, 4)


def test_a_head_alone_has_none(run):
    shutil.copytree(run / "head", run.parent / "alone")
    assert find_student(run.parent / "alone") is None
    with pytest.raises(ArtifactError, match="student/ that this head was trained with is not beside it"):
        alignkit.AlignedEmbedder.load(run.parent / "alone")
    assert alignkit.AlignedEmbedder.load(run.parent / "alone", DistilledEmbedder(run)).dim == 4


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("student/../../evil.json", "leads out of it"),
        ("student/code.py", "is no file of a student"),
        ("student/pytorch_model.bin", "is no file of a student"),
    ],
)
def test_a_bundle_with_anything_else_is_refused_and_nothing_is_unpacked(run, name, says):
    bundle = bundle_of(run, **{name: b"evil"})
    with pytest.raises(ArtifactError, match=says):
        find_student(bundle)


def test_a_bundle_that_would_unfold_is_refused(run):
    (run / "student" / "large.json").write_bytes(b" " * 1_000_000)
    with pytest.raises(ArtifactError, match="larger ones, than a bundle holds"):
        find_student(bundle_of(run, zipfile.ZIP_DEFLATED))
    (run / "student" / "large.json").unlink()
    many = {f"student/{number}.json": b"" for number in range(MOST_FILES)}
    with pytest.raises(ArtifactError, match="more files"):
        find_student(bundle_of(run, **many))


def test_a_damaged_bundle_is_one_line(run):
    bundle = bundle_of(run)
    content = bytearray(bundle.read_bytes())
    place = content.find(b"embedding.weight") + 200
    content[place : place + 8] = b"\xff" * 8
    bundle.write_bytes(content)
    with pytest.raises(ArtifactError, match="copy the") as raised:
        alignkit.AlignedEmbedder.load(bundle)
    assert "\n" not in str(raised.value)

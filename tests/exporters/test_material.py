"""Where the real vectors of the check come from."""

import numpy as np
import pytest

from alignkit.artifact import Artifact
from alignkit.errors import ConfigError, DataError
from alignkit.exporters.material import MOST_ROWS, find_material


def no_student():
    raise AssertionError("the student is not needed here")


@pytest.fixture
def artifact(train_head, demo):
    return Artifact({"query_head": train_head("linear")}, demo.origin.student_identity)


def test_the_demo_pack_serves_where_it_is_of_the_same_student(artifact, demo):
    found = find_material(artifact, no_student)
    np.testing.assert_array_equal(found.vectors, np.array(demo.test.student, dtype=np.float32))
    assert found.origin == "demo pack"


def test_a_file_of_vectors_is_sampled_evenly(artifact, tmp_path):
    rows = np.random.default_rng(0).standard_normal((2 * MOST_ROWS + 1, 256)).astype(np.float32)
    np.save(tmp_path / "student.npy", rows)
    found = find_material(artifact, no_student, vectors=tmp_path / "student.npy")
    np.testing.assert_array_equal(found.vectors, rows[::3])


def test_sentences_are_embedded_once_each(artifact, tmp_path):
    pytest.importorskip("wordllama")
    from alignkit.embedders.static import StaticEmbedder

    (tmp_path / "sentences.txt").write_text("one two\nthree\none two\n", encoding="utf-8")
    found = find_material(artifact, StaticEmbedder, sentences=tmp_path / "sentences.txt")
    assert found.texts == ["one two", "three"]
    assert found.vectors.shape == (2, 256)


@pytest.mark.parametrize(
    ("rows", "error", "message"),
    [
        (np.ones((5, 255), np.float32), DataError, "255-d vectors, this head takes 256-d"),
        (np.full((5, 256), np.nan, np.float32), DataError, "row 0 holds nan"),
        (np.zeros((5, 256), np.float32), DataError, "5 zero vectors"),
    ],
)
def test_unsuitable_vectors_are_refused(rows, error, message, artifact, tmp_path):
    np.save(tmp_path / "student.npy", rows)
    with pytest.raises(error, match=message):
        find_material(artifact, no_student, vectors=tmp_path / "student.npy")


def test_vectors_cannot_check_a_format_that_carries_the_student(artifact, tmp_path):
    with pytest.raises(ConfigError, match="sentences=FILE"):
        find_material(artifact, no_student, vectors=tmp_path / "student.npy", carries_models=True)

"""The student of a run: its kind, its identity, and what is refused."""

import json
import shutil

import numpy as np
import pytest
from small_table import save_table

from alignkit.embedders.base import embed_all
from alignkit.embedders.distilled import DistilledEmbedder, check_unchanged, is_distilled
from alignkit.embedders.table import TableEmbedder
from alignkit.errors import ArtifactError, EmbedderError

TEXTS = ["reset my password", "the parcel arrived late"]


@pytest.fixture
def student(tmp_path):
    return save_table(tmp_path / "run" / "student")


def test_a_table_is_read_as_its_modules_say(student):
    plain = embed_all(DistilledEmbedder(student), TEXTS)
    assert np.array_equal(plain, embed_all(TableEmbedder(student, normalize=False), TEXTS))
    modules = json.loads((student / "modules.json").read_text(encoding="utf-8"))
    modules.append({"idx": 1, "name": "1", "path": "1_N", "type": "sentence_transformers.models.Normalize"})
    (student / "modules.json").write_text(json.dumps(modules), encoding="utf-8")
    assert np.allclose(np.linalg.norm(embed_all(DistilledEmbedder(student), TEXTS), axis=1), 1)


def test_its_prompts_are_those_it_was_saved_with(student):
    prompts = {"query": "please ", "document": ""}
    (student / "config_sentence_transformers.json").write_text(json.dumps({"prompts": prompts}), encoding="utf-8")
    asked = DistilledEmbedder(student)
    assert asked.identity("query")["prompt"] == "please " and asked.identity("document")["prompt"] == ""
    assert np.array_equal(embed_all(asked, TEXTS, "query"), embed_all(asked, [f"please {text}" for text in TEXTS]))


def test_its_identity_is_what_its_files_hold_not_where_they_lie(student, tmp_path):
    here = DistilledEmbedder(student.parent)  # the run folder will do
    moved = shutil.copytree(student, tmp_path / "elsewhere")
    assert DistilledEmbedder(moved).identity() == here.identity() == here.settings()
    assert str(tmp_path) not in json.dumps(here.identity()) and is_distilled(here.identity())
    check_unchanged(moved, here.identity(), "run")
    with (moved / "model.safetensors").open("r+b") as file:
        file.seek(-4, 2)
        file.write(b"\x01\x02\x03\x04")
    assert DistilledEmbedder(moved).identity() != here.identity()
    with pytest.raises(ArtifactError, match="not the student that run was trained with.*copy the whole run folder"):
        check_unchanged(moved, here.identity(), "run")


def test_a_transformer_is_one_too(tmp_path):
    minilm = pytest.importorskip("alignkit.embedders.minilm")
    folder = shutil.copytree(minilm.packaged_folder(), tmp_path / "student")
    student, packaged = DistilledEmbedder(folder), minilm.MinilmEmbedder()
    np.testing.assert_allclose(embed_all(student, TEXTS), embed_all(packaged, TEXTS), atol=1e-6)
    # no cache mixes it with the model that it came from
    assert student.identity() != packaged.identity() and student.settings()["digest"] == student.identity()["digest"]
    assert student.context == packaged.context
    for embedder in (student, packaged):
        embedder.close()


def test_no_code_and_no_pickle_of_a_folder_is_loaded(student):
    modules = json.loads((student / "modules.json").read_text(encoding="utf-8"))
    (student / "modules.json").write_text(json.dumps([*modules, {"type": "evil.Module"}]), encoding="utf-8")
    with pytest.raises(EmbedderError, match="evil.Module is code that is no part of sentence-transformers"):
        DistilledEmbedder(student)
    (student / "modules.json").write_text(json.dumps(modules), encoding="utf-8")
    (student / "model.safetensors").rename(student / "pytorch_model.bin")
    with pytest.raises(EmbedderError, match=r"no student with weights in \*.safetensors"):
        DistilledEmbedder(student)


@pytest.mark.parametrize("content", ["", "{}", "[]", "[1]", "not json"])
def test_a_damaged_description_is_one_line(student, content):
    (student / "modules.json").write_text(content, encoding="utf-8")
    with pytest.raises(EmbedderError, match="student") as raised:
        DistilledEmbedder(student)
    assert "\n" not in str(raised.value)


def test_a_folder_without_a_student_says_what_was_expected(tmp_path):
    with pytest.raises(EmbedderError, match="expected a run folder of python -m alignkit.distill"):
        DistilledEmbedder(tmp_path / "nothing")

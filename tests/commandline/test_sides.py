"""Student and teacher of a head, for commands on which nobody names others."""

import pytest
from omegaconf import OmegaConf

from alignkit.artifact import Artifact
from alignkit.commandline.composed import plain
from alignkit.commandline.conf import yaml_of
from alignkit.commandline.sides import complete_sides, words_of_side
from alignkit.errors import ConfigError
from alignkit.heads.linear import LinearHead

OLLAMA = {
    "backend": "ollama",
    "model": "bge-m3",
    "prompt": "query: ",
    "normalize": True,
    "dimensions": 64,
    "truncate": False,
    "digest": "ab",
    "weights": "cd",
}
MINILM = {"backend": "sentence_transformer", "model": "all-MiniLM-L6-v2", "layers": None, "prompt": ""}


def completed(students=None, teachers=None, **given):
    """What a config of a command becomes, with a head of these identities."""
    config = OmegaConf.create(given)
    OmegaConf.set_struct(config, True)
    head = Artifact({"query_head": LinearHead(4, 4)}, student_identity=students, teacher_identity=teachers)
    complete_sides(config, head)
    return plain(config)


def test_a_student_that_lies_beside_its_head_is_found_unless_another_is_named(tmp_path):
    from small_table import save_table

    from alignkit.artifact import save_artifact
    from alignkit.embedders.distilled import DistilledEmbedder

    student = DistilledEmbedder(save_table(tmp_path / "run" / "student"))
    head = Artifact({"query_head": LinearHead(16, 4)}, student_identity=student.identity())
    save_artifact(head, tmp_path / "run" / "head")

    def of(**given):
        config = OmegaConf.create(given)
        complete_sides(config, head, tmp_path / "run" / "head")
        return plain(config)["student"]

    found = yaml_of("embedder", "distilled") | {"path": str(tmp_path / "run" / "student")}
    assert of() == of(student=None) == of(student=yaml_of("embedder", "distilled")) == found
    assert of(student={"batch_size": 8}) == found | {"batch_size": 8}
    assert of(student=yaml_of("embedder", "distilled") | {"path": "there"})["path"] == "there"
    assert of(student=yaml_of("embedder", "static")) == yaml_of("embedder", "static")


def test_all_that_decides_a_vector_is_taken_from_the_head():
    sides = completed(OLLAMA, MINILM)
    assert sides["teacher"] == yaml_of("embedder", "minilm")
    assert sides["student"] == yaml_of("embedder", "ollama") | {
        "model": "bge-m3",
        "query_prompt": "query: ",
        "document_prompt": "query: ",
        "dimensions": 64,
        "truncate": False,
    }


@pytest.mark.parametrize(
    ("identity", "choice", "own"),
    [
        ({**MINILM, "layers": 2, "pooling": "mean"}, "two_layer", {}),
        ({"backend": "static", "model": "l2_supercat_256", "normalize": False}, "static", {"normalize": False}),
        ({"backend": "openai", "model": "bge-m3"}, "openai", {"model": "bge-m3"}),
        # a folder on whatever machine, a model of nobody's: only the user can say which
        ({**MINILM, "model": "my-folder"}, "two_layer", {}),
        ({"backend": "somebody's", "model": "x"}, "two_layer", {}),
        (None, "two_layer", {}),
    ],
)
def test_each_kind_of_student(identity, choice, own):
    assert completed(identity)["student"] == yaml_of("embedder", choice) | own


def test_what_is_named_is_never_overruled():
    static = yaml_of("embedder", "static")
    assert completed(OLLAMA, student=static)["student"] == static
    named = yaml_of("embedder", "ollama") | {"model": "smol"}
    assert completed(OLLAMA, student=named)["student"] == named
    # named by its kind alone: which model of it, the head knows
    assert completed(OLLAMA, student=yaml_of("embedder", "ollama"))["student"]["model"] == "bge-m3"
    assert completed(None, student=yaml_of("embedder", "ollama"))["student"]["model"] == "qwen2.5:0.5b"


def test_settings_alone_are_those_of_the_heads_own_student():
    found = completed(OLLAMA, student={"base_url": "http://gpu:11434", "query_prompt": ""})["student"]
    assert (found["model"], found["base_url"]) == ("bge-m3", "http://gpu:11434")
    assert (found["query_prompt"], found["document_prompt"]) == ("", "query: ")
    with pytest.raises(ConfigError, match=r"student.bse_url: ollama has no such setting; it has model, base_url"):
        completed(OLLAMA, student={"bse_url": "http://gpu:11434"})


@pytest.mark.parametrize("words", [["student.base_url=http://gpu:1"], ["+mine=server"]])
def test_a_setting_means_the_same_on_the_command_line_and_in_a_yaml_of_the_users(composed, tmp_path, words):
    (tmp_path / "mine").mkdir()
    yaml = "# @package _global_\nstudent:\n  base_url: http://gpu:1\nhead: x\n"
    (tmp_path / "mine" / "server.yaml").write_text(yaml, encoding="utf-8")
    (config,) = composed("embed", "--config-dir", str(tmp_path), *words)
    assert config["student"]["base_url"] == "http://gpu:1" and config["student"]["model"] == "qwen2.5:0.5b"


def test_a_foreign_head_names_no_address_no_key_and_nothing_that_is_filled_in():
    reaching = {**OLLAMA, "base_url": "http://evil", "api_key_env": "HOME", "dimensions": "${oc.env:HOME}"}
    assert completed(reaching)["student"] == completed({**OLLAMA, "dimensions": None})["student"]
    assert completed({**OLLAMA, "model": "${oc.env:HOME}"})["student"]["model"] == "${oc.env:HOME}"


def test_an_embedder_of_the_users_own_is_left_as_it_is():
    own = {"_target_": "my.Embedder", "size": 3}
    assert completed(OLLAMA, student=own)["student"] == own
    with pytest.raises(ConfigError, match="student=3: expected an embedder by name: distilled, minilm, ollama"):
        completed(OLLAMA, student=3)


def test_an_embedder_in_words_that_choose_it_again():
    big = yaml_of("embedder", "ollama") | {"model": "big", "truncate": False, "base_url": "http://me:pw@gpu:1"}
    words = words_of_side("teacher", big)
    assert words == ["teacher=ollama", "teacher.model=big", "teacher.base_url=…", "teacher.truncate=false"]
    assert words_of_side("teacher", yaml_of("embedder", "ollama") | {"model": "qwen2.5:7b"}) == ["teacher=ollama"]
    assert words_of_side("teacher", {"_target_": "my.Embedder"}) == []

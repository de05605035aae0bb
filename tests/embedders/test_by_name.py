"""Embedders by name, and those that a head names."""

from pathlib import Path

import pytest

from alignkit.aligned import AlignedEmbedder
from alignkit.embedders.adapted import as_embedder
from alignkit.embedders.by_name import named_embedder, recorded_embedder
from alignkit.embedders.minilm import MinilmEmbedder
from alignkit.embedders.ollama import OllamaEmbedder
from alignkit.embedders.static import StaticEmbedder
from alignkit.errors import ArtifactError, ConfigError
from alignkit.parts import group_choices
from alignkit.setting_names import settings_under


def test_an_embedder_is_built_from_its_name_and_settings():
    assert isinstance(as_embedder("static"), StaticEmbedder)
    embedder = as_embedder({"embedder": "ollama", "model": "bge-m3", "query_prompt": "query: "})
    assert isinstance(embedder, OllamaEmbedder)
    assert embedder.settings("query")["prompt"] == "query: "
    assert isinstance(as_embedder({"embedder": "minilm", "batch_size": 8}), MinilmEmbedder)
    assert as_embedder(Path("some") / "folder").model == str(Path("some/folder"))


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"embedder": "nonesuch"}, "teacher.embedder=nonesuch: expected one of distilled, minilm, ollama"),
        ({"model": "bge-m3"}, "teacher.embedder=None: expected one of"),
        ({"embedder": "ollama"}, "teacher.model is not set"),
        ({"embedder": "static", "api_key": "sk-1234567890"}, "teacher.api_key: static has no such setting; it has"),
        ({"embedder": "static", "_target_": "os.system"}, "teacher._target_: static has no such setting"),
        ({"embedder": "static", "batch_size": 0}, "batch_size=0: expected a whole number"),
    ],
)
def test_what_is_wrong_is_named_as_it_was_given_without_its_value(given, says):
    with settings_under("teacher"), pytest.raises(ConfigError) as refused:
        named_embedder(given)
    assert says in str(refused.value)
    assert "sk-123" not in str(refused.value)
    assert "\n" not in str(refused.value)


NEED_A_PLACE = {"distilled", "table", "sentence_transformer"}


@pytest.mark.parametrize("name", [one for one in group_choices("embedder") if one not in NEED_A_PLACE])
def test_what_an_identity_tells_is_the_embedder_again(name):
    given = {"embedder": name} | ({"model": "bge-m3", "dimensions": 64} if name in ("ollama", "openai") else {})
    embedder = named_embedder(given | {"document_prompt": "passage: "})
    recorded = recorded_embedder(embedder.settings("document"))
    assert named_embedder(recorded).settings("document") == embedder.settings("document")


@pytest.mark.parametrize(
    "identity",
    [
        None,
        {"backend": "sentence_transformer", "model": "somebody/model", "layers": None},
        {"backend": "table", "model": "table-1234", "digest": "1234"},
        {"backend": "distilled", "digest": "1234"},
        {"backend": "python", "model": "MyModel"},
        {"backend": "ollama", "model": None},
    ],
)
def test_an_identity_that_does_not_tell_enough_tells_none(identity):
    assert recorded_embedder(identity) is None


def test_a_head_finds_the_packaged_student_that_it_was_trained_with(static_run):
    aligned = AlignedEmbedder.load(static_run)
    assert isinstance(aligned.student, StaticEmbedder)
    assert (aligned.encode(["where is my parcel"]) == AlignedEmbedder.load(static_run, "static").encode(
        ["where is my parcel"]
    )).all()  # fmt: skip
    with pytest.raises(ArtifactError, match="expects 256-d"):
        AlignedEmbedder.load(static_run, "minilm")

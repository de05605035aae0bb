"""Queries by student and head, documents by whose the index is."""

import importlib
import pickle
import sys
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
from small_embedder import SmallEmbedder

from alignkit.artifact import Artifact, load_artifact, save_artifact
from alignkit.embedders.static import StaticEmbedder
from alignkit.errors import AlignkitError, ArtifactError, ConfigError, MissingExtraError
from alignkit.frameworks.index_embedder import IndexEmbedder

TEXTS = ["where is my parcel", "how do i reset my password", "book a table for two", "what is the weather tomorrow"]


def test_documents_are_the_teachers_and_queries_the_heads(near_head, expected):
    embedder = IndexEmbedder(near_head)
    np.testing.assert_array_equal(embedder.documents(TEXTS), expected["teacher"])
    np.testing.assert_array_equal(embedder.queries(TEXTS), expected["queries"])
    np.testing.assert_array_equal(IndexEmbedder(near_head, documents="head").documents(TEXTS), expected["head"])
    assert embedder.documents([]).shape == embedder.queries([]).shape == (0, 256)
    for ask in (embedder.documents, embedder.queries):
        with pytest.raises(ConfigError, match="expected a list of texts, got one text"):
            ask("parcel")


def test_documents_have_length_1_whatever_the_teacher_gives(near_head):
    plain = IndexEmbedder(near_head, teacher={"embedder": "static", "normalize": False})
    with pytest.raises(ArtifactError, match="another teacher .normalize: expected True, got False"):
        plain.documents(TEXTS)
    artifact = load_artifact(near_head)
    bare = near_head.parent / "bare"
    save_artifact(Artifact({"query_head": artifact.head}, artifact.student_identity), bare)
    given = IndexEmbedder(bare, teacher={"embedder": "static", "normalize": False})
    np.testing.assert_allclose(np.linalg.norm(given.documents(TEXTS), axis=1), 1, atol=1e-6)
    with pytest.raises(ConfigError, match='does not say which that is; give teacher=, or .* documents="head"'):
        IndexEmbedder(bare).documents(TEXTS)
    assert IndexEmbedder(bare).queries(TEXTS).shape == (4, 256)


def test_who_only_searches_never_loads_a_teacher(near_head):
    embedder = IndexEmbedder(near_head, teacher={"embedder": "ollama", "model": "m", "base_url": "http://127.0.0.1:1"})
    assert embedder.queries(TEXTS[:1]).shape == (1, 256)
    embedder.warm_up()


def test_a_teacher_of_another_space_is_refused(near_head):
    with pytest.raises(ArtifactError, match="trained with another teacher .backend: expected 'static', got 'small'"):
        IndexEmbedder(near_head, teacher=SmallEmbedder(dim=256)).documents(TEXTS)
    artifact = load_artifact(near_head)
    bare = near_head.parent / "bare_of_another_width"
    save_artifact(Artifact({"query_head": artifact.head}, artifact.student_identity), bare)
    with pytest.raises(ArtifactError, match="the teacher gives 8-d vectors, this head makes 256-d ones"):
        IndexEmbedder(bare, teacher=SmallEmbedder(dim=8)).documents(TEXTS)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"documents": "both"}, "documents=both: expected teacher or head"),
        ({"allow_student_mismatch": "no"}, "allow_student_mismatch=no: expected true or false"),
        ({"teacher": {"embedder": "nonesuch"}}, "teacher.embedder=nonesuch: expected one of"),
        ({"student": {"embedder": "ollama"}}, "student.model is not set"),
        ({"teacher": {"embedder": "openai", "model": "m", "api_key": "sk-abcdef12345678"}}, "no such setting"),
        ({"teacher": {"embedder": "openai", "model": "m", "base_url": "http://me:pass@host/v1"}}, "base_url: holds a"),
        ({"teacher": {"embedder": "openai", "model": "m", "query_prompt": "sk-abcdef12345678"}}, "query_prompt: holds"),
        ({"student": "sk-proj-abcdef12345678"}, "student: holds a password or a key"),
        (
            {"teacher": {"embedder": "sentence_transformer", "model": "m", "trust_remote_code": True}},
            "cannot be stored",
        ),
        ({"student": {"embedder": "static", "query_prompt": object()}}, "expected settings of plain values"),
    ],
)
def test_what_may_not_be_stored_is_refused_at_once_and_not_repeated(near_head, given, says):
    with pytest.raises(ConfigError) as refused:
        IndexEmbedder(near_head, **given)
    said = str(refused.value)
    assert says in said
    assert "\n" not in said
    assert not any(secret in said for secret in ("abcdef", "pass@"))


def test_it_travels_as_its_arguments_and_an_object_does_not(near_head, expected):
    embedder = IndexEmbedder(str(near_head), "static", {"embedder": "static", "batch_size": 2})
    embedder.documents(TEXTS)
    travelled = pickle.loads(pickle.dumps(embedder))
    assert travelled.config() == embedder.config()
    np.testing.assert_array_equal(travelled.queries(TEXTS), expected["queries"])
    with pytest.raises(ConfigError, match="student: a StaticEmbedder cannot be stored; give it by name"):
        pickle.dumps(IndexEmbedder(near_head, StaticEmbedder()))


def test_a_model_that_is_not_free_is_called_by_one_thread_at_a_time(near_head):
    class Crowded(StaticEmbedder):
        inside = most = 0

        def embed(self, texts, role="document"):
            self.inside += 1
            self.most = max(self.most, self.inside)
            time.sleep(0.01)  # long enough for the others to come in, if they may
            yield from super().embed(texts, role)
            self.inside -= 1

    crowded, asking = Crowded(), 8
    embedder, start = IndexEmbedder(near_head, crowded), threading.Barrier(asking)
    found = []

    def ask(row):
        start.wait()
        found.append((row, embedder.queries([TEXTS[row % 4]] * 50)))

    threads = [threading.Thread(target=ask, args=(row,)) for row in range(asking)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == asking
    assert crowded.most == 1


def test_the_heads_own_teacher_is_found_and_is_the_very_same(static_run, tmp_path):
    """A head of MiniLM's vectors says so, and MiniLM is in an installed package; its files are looked at first."""
    artifact = load_artifact(static_run)
    other = {**artifact.teacher_identity, "digest": "0" * 64}
    save_artifact(replace(artifact, teacher_identity=other), tmp_path / "head")
    with pytest.raises(ArtifactError, match="another teacher .digest: expected '000000000000', got '0a820c194107'"):
        IndexEmbedder(tmp_path).warm_up_documents()


def test_a_head_that_is_not_there_is_one_line(tmp_path):
    with pytest.raises(AlignkitError, match=r"nonesuch: no head.json there") as refused:
        IndexEmbedder(tmp_path / "nonesuch").queries(["a"])
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "package", "says"),
    [
        ("langchain", "langchain_core", 'langchain-core is not installed; .* pip install "alignkit.langchain."'),
        ("llama_index", "llama_index", 'llama-index-core is not installed; .* pip install "alignkit.llamaindex."'),
        ("chroma", "chromadb", 'chromadb is not installed; .* pip install "alignkit.chroma."'),
        ("haystack", "haystack", 'haystack-ai is not installed; .* pip install "alignkit.haystack."'),
    ],
)
def test_a_missing_framework_names_its_extra(monkeypatch, name, package, says):
    monkeypatch.delitem(sys.modules, f"alignkit.frameworks.{name}", raising=False)
    for module in [one for one in sys.modules if one.split(".")[0] == package]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=says):
        importlib.import_module(f"alignkit.frameworks.{name}")

"""Models whose queries go through other modules than their documents: each role its own, or none at all."""

import json

import numpy as np
import pytest
from needed import needed

from alignkit.cache import VectorCache
from alignkit.embedders import routes
from alignkit.embedders.base import embed_all
from alignkit.embedders.sentence_transformer import SentenceTransformerEmbedder
from alignkit.errors import ConfigError, EmbedderError

needed("sentence_transformers")

WORDS = "where is my parcel today please reset the password".split()
TEXTS = ["where is my parcel", "please reset the password", "today"]


def table(seed, dim=16):
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace

    names = ["[UNK]", "Q", "D", *WORDS]
    tokenizer = Tokenizer(WordLevel({name: place for place, name in enumerate(names)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    weights = np.random.default_rng(seed).standard_normal((len(names), dim)).astype(np.float32)
    return StaticEmbedding(tokenizer, embedding_weights=weights)


def save(folder, prompts=None, **router):
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Router

    model = SentenceTransformer(modules=[Router(**router)], prompts=prompts, device="cpu")
    model.save(str(folder), create_model_card=False)
    return SentenceTransformer(str(folder), device="cpu", local_files_only=True)


@pytest.fixture(scope="module")
def two_routes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "two-routes"
    made = save(folder, sub_modules={"query": [table(1)], "document": [table(2)]}, default_route="document")
    return folder, made


def embedder(folder, **settings):
    return SentenceTransformerEmbedder(str(folder), device="cpu", **settings)


def test_each_role_goes_its_own_way(two_routes):
    folder, library = two_routes
    ours = embedder(folder)
    queries, documents = embed_all(ours, TEXTS, "query"), embed_all(ours, TEXTS, "document")
    np.testing.assert_allclose(queries, library.encode_query(TEXTS), atol=1e-6)
    np.testing.assert_allclose(documents, library.encode_document(TEXTS), atol=1e-6)
    assert np.abs(queries - documents).max() > 0.1


def test_a_role_is_part_of_the_identity_and_so_of_the_cache(two_routes, tmp_path):
    ours = embedder(two_routes[0])
    assert (ours.identity("query")["route"], ours.identity("document")["route"]) == ("query", "document")
    assert ours.settings("query").items() <= ours.identity("query").items()
    with VectorCache(tmp_path, "float32") as cache:
        for role in ("document", "query"):
            assert cache.fill(ours, TEXTS, role).new == len(TEXTS)
            np.testing.assert_allclose(
                cache.gather(ours.identity(role), TEXTS), embed_all(ours, TEXTS, role), atol=1e-6
            )


def test_models_with_one_route_are_known_as_before(tmp_path):
    from sentence_transformers import SentenceTransformer

    SentenceTransformer(modules=[table(1)], device="cpu").save(str(tmp_path / "one"), create_model_card=False)
    ours = embedder(tmp_path / "one")
    assert "route" not in ours.identity("query")
    assert ours.identity("query") == ours.identity("document")
    assert ours._loaded is None  # and nothing was loaded to find out
    assert np.array_equal(embed_all(ours, TEXTS, "query"), embed_all(ours, TEXTS, "document"))


def test_prompts_and_routes_together(tmp_path):
    prompts = {"query": "Q ", "document": "D "}
    library = save(tmp_path / "m", prompts, sub_modules={"query": [table(1)], "document": [table(2)]})
    ours = embedder(tmp_path / "m")
    for role, encode in (("query", library.encode_query), ("document", library.encode_document)):
        np.testing.assert_allclose(embed_all(ours, TEXTS, role), encode(TEXTS), atol=1e-6)
    none = embedder(tmp_path / "m", query_prompt="")
    np.testing.assert_allclose(embed_all(none, TEXTS, "query"), library.encode_query(TEXTS, prompt=""), atol=1e-6)


def test_mapped_routes(tmp_path):
    library = save(
        tmp_path / "m",
        sub_modules={"cheap": [table(1)], "dear": [table(2)]},
        route_mappings={("query", "text"): "cheap", ("document", None): "dear"},
    )
    ours = embedder(tmp_path / "m")
    np.testing.assert_allclose(embed_all(ours, TEXTS, "query"), library.encode_query(TEXTS), atol=1e-6)
    np.testing.assert_allclose(embed_all(ours, TEXTS, "document"), library.encode_document(TEXTS), atol=1e-6)
    assert [type(module).__name__ for module in ours.modules("query")] == ["StaticEmbedding"]


@pytest.mark.parametrize(
    ("routes_there", "lacking"), [(("document", "image"), "query"), (("query", "image"), "document")]
)
def test_a_model_without_the_route_is_refused(tmp_path, routes_there, lacking):
    """A default route would take the texts in silence."""
    save(tmp_path / "m", sub_modules={name: [table(1)] for name in routes_there}, default_route=routes_there[0])
    ours = embedder(tmp_path / "m")
    there = next(role for role in ("query", "document") if role != lacking)
    assert embed_all(ours, TEXTS, there).shape == (3, 16)
    with pytest.raises(EmbedderError, match=rf"has no route for role={lacking}, only {', '.join(routes_there)}"):
        embed_all(ours, TEXTS, lacking)
    with pytest.raises(EmbedderError, match="has no route"):
        ours.modules(lacking)


def test_pooling_needs_a_transformer(two_routes):
    for settings in ({"pooling": "cls"}, {"layers": 2}):
        with pytest.raises(ConfigError, match="begins with a transformer, got Router"):
            embed_all(embedder(two_routes[0], **settings), TEXTS)


def test_whole_texts_only_with_a_table(two_routes):
    """A table of tokens has no longest text, and its tokenizer is no function."""
    assert embed_all(embedder(two_routes[0], truncate=False), TEXTS, "query").shape == (3, 16)


@pytest.mark.parametrize(
    ("parts", "told"),
    [
        ([{"type": "sentence_transformers.models.Transformer", "kwargs": []}], False),
        ([{"type": "sentence_transformers.base.modules.router.Router"}], True),
        ([{"type": "sentence_transformers.models.Asym"}], True),
        ([{"type": "custom_st.Transformer", "kwargs": ["task"]}], True),
        ([{"type": "custom_st.Transformer"}], None),
        ("damaged", False),
        ([1], False),
    ],
)
def test_what_the_files_tell(tmp_path, parts, told):
    assert routes.are_told(tmp_path) is False
    (tmp_path / "modules.json").write_text(json.dumps(parts), encoding="utf-8")
    assert routes.are_told(tmp_path) is told


def test_our_own_export_with_a_router(tmp_path):
    """Student and head for queries, the teacher for documents: `embed` on the exported folder goes both ways."""
    import torch
    from sentence_transformers import SentenceTransformer

    from alignkit.artifact import Artifact
    from alignkit.exporters.base import Job, export_head
    from alignkit.heads.linear import LinearHead

    for name, seed in (("student", 1), ("teacher", 2)):
        SentenceTransformer(modules=[table(seed)], device="cpu").save(str(tmp_path / name), create_model_card=False)
    student, teacher = embedder(tmp_path / "student"), embedder(tmp_path / "teacher")
    torch.manual_seed(0)
    head = LinearHead(16, 16).eval().requires_grad_(False)
    vectors = embed_all(student, TEXTS)
    artifact = Artifact({"query_head": head}, student.identity(), teacher.identity())
    job = Job(artifact, tmp_path, vectors, "here", TEXTS, student, teacher, options={"router": True})
    export_head("sentence_transformers", job, tmp_path / "out")
    ours = embedder(tmp_path / "out")
    unit = embed_all(teacher, TEXTS)
    np.testing.assert_allclose(embed_all(ours, TEXTS, "query"), job.reference(), atol=1e-5)
    np.testing.assert_allclose(embed_all(ours, TEXTS), unit / np.linalg.norm(unit, axis=1, keepdims=True), atol=1e-5)


def test_a_student_with_routes_is_exported_by_its_role(two_routes, tmp_path):
    """The head was trained on vectors of one role; the export carries that route along and no other."""
    import torch

    from alignkit.artifact import Artifact
    from alignkit.exporters.base import Job, export_head
    from alignkit.heads.linear import LinearHead

    student = embedder(two_routes[0])
    torch.manual_seed(0)
    head = LinearHead(16, 8).eval().requires_grad_(False)
    vectors = embed_all(student, TEXTS, "query")
    job = Job(
        Artifact({"query_head": head}, student.identity("query"), None), tmp_path, vectors, "here", TEXTS, student
    )
    export_head("sentence_transformers", job, tmp_path / "out")
    np.testing.assert_allclose(embed_all(embedder(tmp_path / "out"), TEXTS), job.reference(), atol=1e-5)

"""Every YAML of the group, held to what the Protocol promises."""

import json

import numpy as np
import pytest
from fake_server import FakeServer
from hydra import compose, initialize_config_dir
from small_table import save_table

from alignkit.commandline import build, conf_folder
from alignkit.embedders.base import embed_all

NAMES = sorted(path.stem for path in (conf_folder() / "embedder").glob("*.yaml"))
TEXTS = ["one sentence", "another, longer sentence", "", "a third"]


@pytest.fixture
def server():
    with FakeServer() as running:
        yield running


@pytest.fixture(params=NAMES)
def embedder(request, server, tmp_path):
    name = request.param
    overrides = [f"embedder@student={name}"]
    # what a YAML leaves open, and servers that are not there
    if name == "sentence_transformer":
        minilm = pytest.importorskip("alignkit.embedders.minilm")
        overrides.append(f"student.model='{minilm.packaged_folder()}'")
    elif name == "distilled":
        save_table(tmp_path / "student")
        overrides.append(f"student.path='{tmp_path}'")
    elif name == "table":
        overrides.append(f"student.path='{save_table(tmp_path)}'")
    elif name == "ollama":
        overrides += ["student.model=tiny", f"student.base_url={server.url}"]
    elif name == "openai":
        overrides += ["student.model=tiny", f"student.base_url={server.url}/v1"]
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        made = build(compose("check", overrides=overrides).student)
    yield made
    made.close()
    made.close()


def test_it_keeps_its_promises(embedder):
    seen = []
    for batch in embedder.embed(TEXTS, "query"):
        assert batch.indices.dtype == np.int64
        assert batch.vectors.dtype == np.float32
        assert batch.vectors.shape == (len(batch.indices), embedder.dim)
        assert np.isfinite(batch.vectors).all()
        assert not set(batch.indices.tolist()) & set(batch.failures)
        seen += [*batch.indices.tolist(), *batch.failures]
    assert sorted(seen) == [0, 1, 2, 3]
    good = [text for text in TEXTS if text]
    vectors = embed_all(embedder, good)
    assert vectors.shape == (3, embedder.dim)
    assert np.linalg.norm(vectors[0] - vectors[1]) > 0.1
    assert not list(embedder.embed([])) or len(next(iter(embedder.embed([]))).indices) == 0


def test_its_identity_is_plain_and_complete(embedder):
    for role in ("query", "document"):
        identity = embedder.identity(role)
        assert json.loads(json.dumps(identity)) == identity
        assert {"backend", "model", "digest", "prompt", "normalize"} <= identity.keys()
        assert embedder.settings(role).items() <= identity.items()
    assert all(value is None or isinstance(value, str | int | float) for value in embedder.provenance().values())


@pytest.mark.parametrize(("mount", "model"), [("student", "qwen2.5:0.5b"), ("teacher", "qwen2.5:7b")])
def test_ollamas_default_model_depends_on_the_side(mount, model):
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        assert compose("check")[mount].model == model
        assert compose("check", overrides=[f"embedder@{mount}=ollama"])[mount].model == model
        assert compose("check", overrides=[f"{mount}.model=bge-m3"])[mount].model == "bge-m3"
        assert "model" not in compose("check", overrides=[f"embedder@{mount}=static"])[mount]


def test_every_name_of_a_setting_is_the_same_everywhere():
    known = {
        "_target_", "model", "base_url", "batch_size", "concurrency", "timeout_s", "first_timeout_s", "retries",
        "retry_wait_s", "api_key_env", "query_prompt", "document_prompt", "dimensions", "normalize", "truncate",
        "pooling", "layers", "device", "dtype", "trust_remote_code", "path", "price_per_million_tokens",
    }  # fmt: skip
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        for name in NAMES:
            assert set(compose("check", overrides=[f"embedder@student={name}"]).student) <= known

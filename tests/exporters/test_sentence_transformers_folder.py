"""Folders of sentence-transformers: equal vectors, loaded by a process that cannot import alignkit."""

import copy
import json
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from needed import needed
from small_heads import head_kinds
from small_models import small_table, small_transformer
from two_processes import forks

from alignkit.artifact import Artifact, load_artifact
from alignkit.embedders.base import embed_all
from alignkit.errors import ConfigError
from alignkit.exporters.base import export_head
from alignkit.exporters.sentence_transformers import _modules
from alignkit.heads.base import Head
from alignkit.heads.linear import LinearHead
from alignkit.heads.streaming import TensorBatches

needed("sentence_transformers")
pytest.importorskip("wordllama")


def load_all(cases):
    """In a process of its own, that cannot import alignkit: what each folder gives, as the case asks for it."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "alignkit"]:
        del sys.modules[name]
    sys.modules["alignkit"] = None
    torch.set_num_threads(1)
    for case in cases:
        loaded = load(case["folder"], case)
        made = {"plain": embed(loaded, case)}
        for name in ("half", "bfloat16", "double") if case["cast"] else ():
            model = getattr(copy.deepcopy(loaded), name)()
            made[name] = embed(model, case)
            if not case["stored"]:
                continue
            model.save_pretrained(f"{case['folder']}-{name}")
            model = load(f"{case['folder']}-{name}", case)
            made[f"{name}, saved and loaded"] = embed(model, case, name)
            kwargs = {"dtype": getattr(torch, {"half": "float16", "double": "float64"}.get(name, name))}
            made[f"loaded as {name}"] = embed(load(case["folder"], case, model_kwargs=kwargs), case, name)
        if case["stored"]:
            model.save_pretrained(f"{case['folder']}-again")
            made["saved twice"] = embed(load(f"{case['folder']}-again", case), case, "double")
        np.savez(case["made"], **made)


def load(folder, case, **about):
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(folder, device="cpu", trust_remote_code=case["own_code"], local_files_only=True, **about)


def embed(model, case, cast=None):
    if cast and case["router"] and not case["own_code"]:
        model = getattr(model, cast)()  # as the card says: model_kwargs do not reach every module of a router
    encode = model.encode_query if case["router"] else model.encode
    return encode(case["texts"], show_progress_bar=False, convert_to_tensor=True).float().numpy()


@pytest.fixture(scope="module")
def texts(demo):
    return list(demo.test.texts[:20])


@pytest.fixture(scope="module")
def static(texts, tmp_path_factory):
    return small_table(texts, tmp_path_factory.mktemp("table"))


@pytest.fixture(scope="module")
def transformer_folder(tmp_path_factory):
    return tmp_path_factory.mktemp("transformer")


@pytest.fixture(scope="module")
def teacher(texts, transformer_folder):
    return small_transformer(texts, transformer_folder)


class Waves(Head):
    """No chain of dense layers."""

    def __init__(self, student_dim, teacher_dim):
        super().__init__()
        self.student_dim, self.teacher_dim = student_dim, teacher_dim
        self.register_buffer("frequencies", torch.randn(student_dim, 32))
        self.mix = torch.nn.Linear(32, teacher_dim)

    def forward(self, student):
        return self.mix(torch.cos(torch.nn.functional.normalize(student, dim=-1) @ self.frequencies))


# a transformer's own loss, of which the head must add little
LOSS = {"half": 5e-3, "float16": 5e-3, "bfloat16": 3e-2, "double": 1e-5, "saved": 1e-5, "plain": 1e-5}


def modules_of(folder):
    """The classes that a folder is loaded as."""
    return [module["type"] for module in json.loads((folder / "modules.json").read_text(encoding="utf-8"))]


def test_every_head_loads_without_alignkit_and_is_cast_saved_and_loaded_again(
    train_head, make_job, static, teacher, texts, tmp_path
):
    vectors = embed_all(static, texts)
    torch.manual_seed(0)
    heads = [*map(train_head, head_kinds()), Waves(256, 384).eval()]
    cases, jobs, chains = [], [], []
    for number, head in enumerate(heads):
        # the router's code paths are the same for all heads: one with stock modules, one without
        router = head_kinds()[number : number + 1] == ["linear"] or number == len(heads) - 1
        about = {"teacher": teacher, "options": {"router": True}} if router else {}
        whitened = number < len(heads) - 1  # folded into the same modules
        job = make_job(head, whitened, vectors=vectors, texts=texts, student=static, **about)
        folder = tmp_path / f"model-{number}"
        manifest = export_head("sentence_transformers", job, folder)
        assert manifest["verification"]["largest_difference"] < 1e-5
        own_code = manifest["needs_trust_remote_code"]
        assert own_code == (folder / "aligned_head.py").exists()
        assert ("trust_remote_code=True" in (folder / "README.md").read_text(encoding="utf-8")) == own_code
        assert ("role=document" in (folder / "README.md").read_text(encoding="utf-8")) == whitened
        # stock modules cast the same whatever their weights; each head's own code has operators of its own, and is
        # saved and loaded by the same lines
        chain = modules_of(folder)
        case = {"folder": str(folder), "own_code": own_code, "router": router, "texts": texts}
        case["cast"] = own_code or chain not in chains
        case["stored"] = case["cast"] and (own_code, router) not in [(one["own_code"], one["router"]) for one in cases]
        cases.append({**case, "made": str(tmp_path / f"{number}.npz")})
        jobs.append(job)
        chains.append(chain)
    assert [case["own_code"] for case in cases if case["router"]] == [False, True]
    elsewhere = forks().Process(target=load_all, args=(cases,))
    elsewhere.start()
    elsewhere.join()
    assert elsewhere.exitcode == 0
    for case, job in zip(cases, jobs, strict=True):
        made = np.load(case["made"])
        assert len(made.files) == (11 if case["stored"] else 4 if case["cast"] else 1)
        for name in made.files:
            loss = next(value for key, value in LOSS.items() if key in name)
            np.testing.assert_allclose(made[name], job.reference(), atol=loss, err_msg=f"{case['folder']}: {name}")


def test_without_trust_the_code_in_the_folder_is_not_run(make_job, static, demo, tmp_path):
    from sentence_transformers import SentenceTransformer

    texts = list(demo.test.texts[:5])
    job = make_job(Waves(256, 384).eval(), vectors=embed_all(static, texts), texts=texts, student=static)
    export_head("sentence_transformers", job, tmp_path / "model")
    with pytest.raises(ValueError, match="trust_remote_code"):
        SentenceTransformer(str(tmp_path / "model"), local_files_only=True)


def test_checking_code_in_a_folder_leaves_none_in_the_users_cache(make_job, static, demo, tmp_path, capfd):
    from transformers.dynamic_module_utils import HF_MODULES_CACHE

    def cached():
        folder = Path(HF_MODULES_CACHE) / "transformers_modules"
        return {path.name for path in folder.iterdir()} if folder.is_dir() else set()

    before = cached()
    texts = list(demo.test.texts[:5])
    job = make_job(Waves(256, 384).eval(), vectors=embed_all(static, texts), texts=texts, student=static)
    export_head("sentence_transformers", job, tmp_path / "waves")
    assert {name for name in cached() - before if name.startswith("waves")} == set()
    assert "not a valid Python identifier" not in capfd.readouterr().err


def test_prompts_travel_with_the_model(demo, tmp_path, make_job):
    from sentence_transformers import SentenceTransformer

    from alignkit.embedders.static import StaticEmbedder

    student = StaticEmbedder(query_prompt="question: ", normalize=True)
    texts = list(demo.test.texts[:10])
    vectors = embed_all(student, texts, "query")
    head = LinearHead(256, 384)
    head.solve(TensorBatches(torch.from_numpy(vectors), torch.from_numpy(np.array(demo.test.teacher[:10], np.float32))))
    artifact = Artifact({"query_head": head.eval().requires_grad_(False)}, student.identity("query"))
    job = make_job(head, artifact=artifact, vectors=vectors, texts=texts, student=student)
    export_head("sentence_transformers", job, tmp_path / "model")
    model = SentenceTransformer(str(tmp_path / "model"), local_files_only=True)
    np.testing.assert_allclose(model.encode(texts, show_progress_bar=False), job.reference(), atol=1e-6)


def test_the_card_states_metrics_and_provenance(train_head, make_job, static, demo, tmp_path):
    from huggingface_hub import ModelCard

    texts = list(demo.test.texts[:5])
    rows = {"mean": {"cosine_mean": 0.1}, "aligned": {"cosine_mean": 0.75, "recall@10": None, "overlap@10": 0.5}}
    head = train_head("linear")
    artifact = Artifact(
        {"query_head": head}, demo.origin.student_identity, demo.origin.teacher_identity, {"rows": rows}
    )
    job = make_job(
        head, artifact=artifact, vectors=embed_all(static, texts), texts=texts, student=static, repo="me/model"
    )
    export_head("sentence_transformers", job, tmp_path / "model")
    # for the Hub it is a head for alignkit too
    assert load_artifact(tmp_path / "model").digest() == artifact.digest()
    card = (tmp_path / "model" / "README.md").read_text(encoding="utf-8")
    assert ModelCard(card).data.library_name == "sentence-transformers"
    assert "| aligned | 0.750 | 0.500 |" in card
    assert "recall@10" not in card
    assert artifact.digest() in card
    assert 'SentenceTransformer("me/model")' in card
    assert "Needs sentence-transformers 5.4 or newer." in card
    assert "all-MiniLM-L6-v2" in card


@pytest.mark.parametrize(("dtype", "router"), [("bfloat16", False), ("float16", True)])
def test_a_student_in_half_precision_is_written_in_float32(
    dtype, router, make_job, demo, texts, teacher, transformer_folder, tmp_path
):
    from sentence_transformers import SentenceTransformer

    from alignkit.embedders.sentence_transformer import SentenceTransformerEmbedder

    whole = str(transformer_folder / "whole")
    student = SentenceTransformerEmbedder(whole, normalize=True, dtype=dtype)
    vectors = embed_all(student, texts)
    torch.manual_seed(0)
    head = LinearHead(384, 384).eval().requires_grad_(False)
    artifact = Artifact({"query_head": head}, student.identity(), demo.origin.teacher_identity)
    about = {"teacher": student, "options": {"router": True}} if router else {}
    job = make_job(head, artifact=artifact, vectors=vectors, texts=texts, student=student, **about)
    manifest = export_head("sentence_transformers", job, tmp_path / "model")
    assert manifest["student_trained_in"] == dtype
    # no more than the student differs from itself with its batches padded otherwise
    assert manifest["verification"]["largest_difference"] < {"bfloat16": 5e-3, "float16": 7e-4}[dtype]
    assert f"computed in {dtype}" in (tmp_path / "model" / "README.md").read_text(encoding="utf-8")
    model = SentenceTransformer(str(tmp_path / "model"), local_files_only=True)
    encode = model.encode_query if router else model.encode
    exact = SentenceTransformerEmbedder(whole, normalize=True, dtype="float32")
    wanted = make_job(head, artifact=artifact, vectors=embed_all(exact, texts)).reference()
    # the weights of this model lose little when they are rounded; the head's would have lost as much again
    assert np.abs(encode(texts, show_progress_bar=False) - wanted).max() < 2e-3
    assert student._load()[0].model.dtype == getattr(torch, dtype)


def test_a_transformer_with_a_head_of_its_own_code_loads_in_any_type(make_job, teacher, demo, tmp_path):
    from sentence_transformers import SentenceTransformer

    texts = list(demo.test.texts[:10])
    torch.manual_seed(0)
    head = Waves(384, 384).eval().requires_grad_(False)
    artifact = Artifact({"query_head": head}, teacher.identity(), demo.origin.teacher_identity)
    job = make_job(head, artifact=artifact, vectors=embed_all(teacher, texts), texts=texts, student=teacher)
    export_head("sentence_transformers", job, tmp_path / "model")
    about = {"device": "cpu", "trust_remote_code": True, "local_files_only": True}
    for dtype, loss in {torch.float16: 5e-3, torch.bfloat16: 3e-2, torch.float64: 1e-5}.items():
        model = SentenceTransformer(str(tmp_path / "model"), model_kwargs={"dtype": dtype}, **about)
        vectors = model.encode(texts, show_progress_bar=False, convert_to_tensor=True)
        assert vectors.dtype == dtype
        np.testing.assert_allclose(vectors.float().numpy(), job.reference(), atol=loss)
    again = pickle.loads(pickle.dumps(model))  # what a pool of processes does
    assert torch.equal(again.encode(texts, show_progress_bar=False, convert_to_tensor=True), vectors)


def test_a_student_behind_a_server_is_refused():
    from alignkit.embedders.openai import OpenAIEmbedder

    with pytest.raises(ConfigError, match="cannot be carried along.*format=onnx"):
        _modules(OpenAIEmbedder("some-model", "http://127.0.0.1:9/v1"), "document")


def test_a_student_that_shortens_its_vectors_is_refused():
    from alignkit.embedders.sentence_transformer import SentenceTransformerEmbedder

    with pytest.raises(ConfigError, match="dimensions=64: no module of sentence-transformers shortens.*format=onnx"):
        _modules(SentenceTransformerEmbedder("some-model", dimensions=64), "document")

"""Every format of every head kind agrees with the head, from disk, and says so in its manifest."""

import ast
import copy
import hashlib
import importlib.util
import json
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import torch
from small_heads import head_kinds

from alignkit.agreement import Tolerance, compare, kept_overlap
from alignkit.artifact import load_artifact
from alignkit.embedders.base import embed_all
from alignkit.errors import AlignkitError, ArtifactError, ConfigError
from alignkit.exporters import base
from alignkit.exporters.base import export_head, format_named, formats
from alignkit.heads.base import Head
from alignkit.vectors import l2_normalize

VECTOR_FORMATS = [name for name in formats() if name != "sentence_transformers"]
# for ONNX, whose traces take long: some heads are no more than a matrix, as the linear one is, and a kernel is a part
# of another
TRACED = [kind for kind in head_kinds() if kind not in ("low_rank", "orthogonal", "kernel")]


@pytest.fixture(scope="session")
def traced():
    """The bytes of `head.onnx`, by head: tracing one takes over a second, and every rounding begins with the same."""
    return {}


@pytest.fixture(autouse=True)
def traced_once(monkeypatch, traced):
    if importlib.util.find_spec("onnxscript") is None:
        return
    from alignkit.exporters import onnx

    export = onnx._export

    def once(head, path, student_dim):
        key = str(head), *((one.dtype, one.double().numpy().tobytes()) for one in head.state_dict().values())
        if key not in traced:
            export(head, path, student_dim)
            traced[key] = path.read_bytes()
        path.write_bytes(traced[key])

    monkeypatch.setattr(onnx, "_export", once)


def out_of(folder, name):
    return folder / ("head.zip" if name == "bundle" else "export")


@pytest.mark.parametrize(
    ("name", "kind"), [(name, kind) for name in VECTOR_FORMATS for kind in (TRACED if name == "onnx" else head_kinds())]
)
def test_export_agrees_with_the_head(name, kind, train_head, make_job, tmp_path):
    if name == "onnx":
        pytest.importorskip("onnxscript")
    out = out_of(tmp_path, name)
    job = make_job(train_head(kind), whitened=True)
    manifest = export_head(name, job, out)
    checked = manifest["verification"]
    assert checked["vectors"] == 100
    assert checked["largest_difference"] <= checked["tolerance"]["largest_difference"] <= 2e-5
    assert checked["smallest_cosine"] >= 0.99999
    assert out.exists()
    assert [path.name for path in tmp_path.iterdir()] == [out.name]


def test_queries_are_exported_whitened_and_documents_are_not(train_head, make_job, tmp_path):
    head, written = train_head("linear"), {}
    for role in ("query", "document"):
        job = make_job(head, whitened=True, role=role)
        export_head("numpy", job, tmp_path / role)
        written[role] = format_named("numpy", {}).read_back(job, tmp_path / role)
    plain = l2_normalize(head(torch.from_numpy(job.vectors))).numpy()
    np.testing.assert_allclose(written["document"], plain, atol=1e-5)
    assert (written["query"] * plain).sum(axis=1).max() < 0.99


@pytest.mark.parametrize("name", ["numpy", "torch"])
def test_manifest_on_disk_holds_checksums_and_origin(name, train_head, make_job, tmp_path):
    manifest = export_head(name, make_job(train_head("linear")), tmp_path / "export")
    assert json.loads((tmp_path / "export" / "manifest.json").read_text(encoding="utf-8")) == manifest
    written = {path.name for path in (tmp_path / "export").iterdir()} - {"manifest.json"}
    assert set(manifest["files"]) == written
    for file, digest in manifest["files"].items():
        assert hashlib.sha256((tmp_path / "export" / file).read_bytes()).hexdigest() == digest
    assert manifest["head"]["kind"] == "linear"
    assert manifest["head"]["student_identity"]["backend"] == "static"


def test_a_linear_head_is_one_matrix_for_numpy(train_head, make_job, tmp_path):
    job = make_job(train_head("linear"))
    export_head("numpy", job, tmp_path / "export")
    weight, bias = np.load(tmp_path / "export" / "W.npy"), np.load(tmp_path / "export" / "b.npy")
    assert weight.shape == (256, 384)
    aligned = job.vectors @ weight + bias
    aligned /= np.linalg.norm(aligned, axis=1, keepdims=True)
    np.testing.assert_allclose(aligned, job.reference(), atol=1e-6)


def test_the_numpy_script_imports_numpy_alone(train_head, make_job, tmp_path):
    export_head("numpy", make_job(train_head("mlp")), tmp_path / "export")
    tree = ast.parse((tmp_path / "export" / "apply_head.py").read_text(encoding="utf-8"))
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert names <= {"math", "sys", "pathlib", "numpy"}


def test_the_torch_files_are_what_plain_torch_reads(train_head, make_job, tmp_path):
    job = make_job(train_head("linear"))
    export_head("torch", job, tmp_path / "export")
    weights = torch.load(tmp_path / "export" / "align_head.pt", weights_only=True)
    config = json.loads((tmp_path / "export" / "run_config.json").read_text(encoding="utf-8"))
    assert (config["input_dim"], config["output_dim"]) == (256, 384)
    linear = torch.nn.Linear(config["input_dim"], config["output_dim"])
    linear.load_state_dict({key.removeprefix("projection."): value for key, value in weights.items()})
    aligned = torch.nn.functional.normalize(linear(torch.from_numpy(job.vectors)), dim=1)
    np.testing.assert_allclose(aligned.detach().numpy(), job.reference(), atol=1e-6)


@pytest.mark.parametrize("kind", [kind for kind in TRACED if kind != "linear"])  # which is rounded below
@pytest.mark.parametrize("quantize", ["int8", "float16"])
def test_every_head_rounds_within_the_stated_tolerance(quantize, kind, train_head, make_job, tmp_path):
    pytest.importorskip("onnxscript")
    job = make_job(train_head(kind), whitened=True, options={"quantize": quantize})
    manifest = export_head("onnx", job, tmp_path / "export")
    checked = manifest["verification"]
    assert checked["smallest_cosine"] >= checked["tolerance"]["smallest_cosine"]
    assert checked["overlap@10_loss"] < (0.1 if quantize == "int8" else 0.01)


@pytest.mark.parametrize("quantize", ["int8", "float16"])
def test_rounded_onnx_is_smaller_and_states_its_loss(quantize, train_head, make_job, tmp_path):
    pytest.importorskip("onnxscript")
    job = make_job(train_head("linear"))
    export_head("onnx", job, tmp_path / "precise")
    manifest = export_head("onnx", make_job(train_head("linear"), options={"quantize": quantize}), tmp_path / "rounded")
    assert manifest["quantize"] == quantize
    checked = manifest["verification"]
    assert checked["smallest_cosine"] >= checked["tolerance"]["smallest_cosine"]
    assert 0 <= checked["overlap@10_loss"] < (0.05 if quantize == "int8" else 0.01)
    precise, rounded = ((tmp_path / name / "head.onnx").stat().st_size for name in ("precise", "rounded"))
    assert rounded < 0.6 * precise


def test_onnx_takes_any_number_of_rows(train_head, make_job, tmp_path):
    pytest.importorskip("onnxscript")
    import onnxruntime

    job = make_job(train_head("mlp"))
    export_head("onnx", job, tmp_path / "export")
    session = onnxruntime.InferenceSession(tmp_path / "export" / "head.onnx", providers=["CPUExecutionProvider"])
    assert [(part.name, part.shape[1]) for part in session.get_inputs()] == [("student", 256)]
    for rows in (1, 2, 33, 100):
        (aligned,) = session.run(["aligned"], {"student": job.vectors[:rows]})
        np.testing.assert_allclose(aligned, job.reference()[:rows], atol=2e-5)


class OffsetHead(Head):
    """Centres on a mean a thousand times its spread, as generative models' vectors need it."""

    def __init__(self, student_dim, teacher_dim):
        super().__init__()
        self.student_dim, self.teacher_dim = student_dim, teacher_dim
        self.register_buffer("mean", torch.full((student_dim,), 1000.0))
        self.projection = torch.nn.Linear(student_dim, teacher_dim, bias=False)

    def forward(self, student):
        return self.projection(student - self.mean)


def test_a_large_centring_folds_into_the_bias_without_loss():
    from alignkit.exporters.dense import affine_layer

    head = OffsetHead(8, 5).eval()
    layer = affine_layer(head)
    torch.testing.assert_close(layer.weight, head.projection.weight, atol=1e-7, rtol=1e-6)
    torch.testing.assert_close(
        layer.bias.double(), -(head.projection.weight.double() * 1000).sum(1), atol=1e-4, rtol=1e-6
    )


class Forking(Head):
    """Does what no format can write out: it looks at values to decide what to do."""

    def __init__(self, student_dim, teacher_dim):
        super().__init__()
        self.student_dim, self.teacher_dim = student_dim, teacher_dim
        self.projection = torch.nn.Linear(student_dim, teacher_dim)

    def forward(self, student):
        return self.projection(student) if student.sum() > 0 else self.projection(torch.cos(student))


@pytest.mark.parametrize("name", ["numpy", "onnx"])
def test_a_head_that_forks_is_refused_with_a_way_out(name, make_job, tmp_path):
    torch.manual_seed(0)
    with pytest.raises(ConfigError, match="cannot be written out.*format=bundle"):
        export_head(name, make_job(Forking(256, 384).eval()), tmp_path / "export")
    assert list(tmp_path.iterdir()) == []


class Wrong:
    """A format that writes something else than the head."""

    OPTIONS, CARRIES_MODELS = frozenset(), False

    @staticmethod
    def tolerance(job):
        return Tolerance(1e-5)

    @staticmethod
    def write(job, folder):
        (folder / "weights").write_bytes(b"half")
        return {}

    @staticmethod
    def read_back(job, folder):
        off = job.reference().copy()
        off[-1, 0] += 2e-5
        return off


def test_an_export_that_does_not_agree_fails_and_leaves_nothing(train_head, make_job, tmp_path, monkeypatch):
    monkeypatch.setattr(base, "format_named", lambda name, options: Wrong)
    with pytest.raises(ArtifactError, match="largest difference 2e-05 .allowed 1e-05.*not kept"):
        export_head("wrong", make_job(train_head("linear")), tmp_path / "export")
    assert list(tmp_path.iterdir()) == []
    export_head("wrong", make_job(train_head("linear")), tmp_path / "export", tolerance=1e-4)
    assert (tmp_path / "export" / "manifest.json").exists()


@pytest.mark.parametrize("name", formats())
def test_a_full_disk_is_one_line_and_leaves_nothing(name, train_head, make_job, demo, tmp_path):
    resource = pytest.importorskip("resource")  # Windows has none
    about = {}
    if name == "sentence_transformers":
        pytest.importorskip("sentence_transformers")
        pytest.importorskip("wordllama")
        from alignkit.embedders.static import StaticEmbedder

        texts = list(demo.test.texts[:5])
        about = {"texts": texts, "student": StaticEmbedder(), "vectors": embed_all(StaticEmbedder(), texts)}
    if name == "onnx":
        pytest.importorskip("onnxscript")
    job = make_job(train_head("linear"), **about)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        with pytest.raises(AlignkitError, match="could not be written") as error:
            export_head(name, job, out_of(tmp_path, name))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nothing", {}), "unknown format 'nothing'; formats: bundle, hub, numpy, onnx, sentence_transformers, torch"),
        (("numpy", {"quantize": "int8"}), "format=numpy has no setting quantize"),
        (("onnx", {"quantize": "int4"}), "quantize=int4: expected int8 or float16, or null"),
        (("sentence_transformers", {"router": True}), "needs the student itself"),
        (("bundle", {}), "a bundle ends in .zip"),
    ],
)
def test_wrong_settings_are_named(arguments, message, train_head, make_job, tmp_path):
    name, options = arguments
    with pytest.raises(ConfigError, match=message):
        export_head(name, make_job(train_head("linear"), options=options), tmp_path / "export")
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_is_never_overwritten(train_head, make_job, tmp_path):
    (tmp_path / "export").mkdir()
    with pytest.raises(ConfigError, match="exists already"):
        export_head("numpy", make_job(train_head("linear")), tmp_path / "export")


def test_a_bundle_carries_the_run_and_loads(train_head, make_job, tmp_path):
    run = tmp_path / "run"
    (run / "head").mkdir(parents=True)
    for name in ("config.yaml", "metrics.json", "alignment_report.md"):
        (run / name).write_text("{}", encoding="utf-8")
    job = make_job(train_head("mlp"), origin=run)
    manifest = export_head("bundle", job, tmp_path / "head.zip")
    assert {"config.yaml", "metrics.json", "alignment_report.md", "head/head.json"} <= set(manifest["files"])
    loaded = load_artifact(tmp_path / "head.zip")
    assert loaded.digest() == job.artifact.digest()
    assert loaded.student_identity == job.artifact.student_identity


def test_a_bundle_made_from_a_bundle_carries_the_same_and_nothing_of_the_folder_beside_it(
    train_head, make_job, tmp_path
):
    run = tmp_path / "run"
    (run / "head").mkdir(parents=True)
    for name in ("config.yaml", "metrics.json", "alignment_report.md"):
        (run / name).write_text("the first run's", encoding="utf-8")
    job = make_job(train_head("mlp"), origin=run)
    export_head("bundle", job, tmp_path / "head.zip")
    other = tmp_path / "other"
    (other / "head").mkdir(parents=True)
    (other / "alignment_metrics.csv").write_text("another run's", encoding="utf-8")
    (other / "metrics.json").write_text("another run's", encoding="utf-8")
    (tmp_path / "head.zip").rename(other / "head.zip")
    again = make_job(train_head("mlp"), origin=other / "head.zip")
    manifest = export_head("bundle", again, tmp_path / "again.zip")
    assert "alignment_metrics.csv" not in manifest["files"]
    with zipfile.ZipFile(tmp_path / "again.zip") as bundle:
        for name in ("config.yaml", "metrics.json", "alignment_report.md"):
            assert bundle.read(name) == b"the first run's"


def test_a_head_that_lies_alone_takes_nothing_of_a_run_beside_it(train_head, make_job, tmp_path):
    (tmp_path / "head").mkdir()
    (tmp_path / "alone").mkdir()
    (tmp_path / "metrics.json").write_text("another head's", encoding="utf-8")
    manifest = export_head("bundle", make_job(train_head("mlp"), origin=tmp_path / "alone"), tmp_path / "head.zip")
    assert set(manifest["files"]) == {"head/head.json", "head/head.safetensors"}


@pytest.mark.parametrize(("name", "dtype"), [*((name, torch.bfloat16) for name in VECTOR_FORMATS),
                                             ("bundle", torch.float16)])  # fmt: skip
def test_heads_in_half_precision(name, dtype, train_head, make_job, tmp_path):
    if name == "onnx":
        pytest.importorskip("onnxscript")
    out = out_of(tmp_path, name)
    job = make_job(copy.deepcopy(train_head("mlp")).to(dtype))
    checked = export_head(name, job, out)["verification"]
    assert checked["largest_difference"] <= checked["tolerance"]["largest_difference"] <= 2e-5
    if name == "bundle":
        assert next(load_artifact(out).head.parameters()).dtype == dtype


def test_kept_overlap_by_hand():
    corpus = np.eye(4, 3, dtype=np.float32)
    corpus[3] = [0.9, 0.1, 0.0]
    assert kept_overlap(corpus, corpus) == 1.0
    assert kept_overlap(corpus[:1], corpus[:1]) == 1.0


def test_compare_refuses_other_shapes_and_nan():
    rows = np.eye(3, dtype=np.float32)
    with pytest.raises(ArtifactError, match="shape"):
        compare(rows, rows[:2], Tolerance())
    broken = rows.copy()
    broken[0, 0] = np.nan
    with pytest.raises(ArtifactError, match="does not agree"):
        compare(rows, broken, Tolerance())


def test_the_script_runs_without_alignkit(train_head, make_job, tmp_path):
    job = make_job(train_head("mlp"))
    export_head("numpy", job, tmp_path / "export")
    np.save(tmp_path / "given.npy", job.vectors)
    code = (
        "import sys, runpy; sys.modules['alignkit'] = sys.modules['torch'] = None; "
        f"sys.argv = ['apply_head.py', {str(tmp_path / 'given.npy')!r}, {str(tmp_path / 'made.npy')!r}]; "
        f"runpy.run_path({str(tmp_path / 'export' / 'apply_head.py')!r}, run_name='__main__')"
    )
    subprocess.run([sys.executable, "-I", "-c", code], check=True)
    np.testing.assert_allclose(np.load(tmp_path / "made.npy"), job.reference(), atol=2e-5)

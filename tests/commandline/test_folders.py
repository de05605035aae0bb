"""The folder of a run: it can be written to before anything is computed, and nothing of a user's is taken away."""

import json
import sys

import pytest

from alignkit.commandline import folders

FAST = ("train", "student=static", "trainer.max_epochs=0", "html=false", "confidence=false")


def test_a_failed_run_removes_what_it_made_and_nothing_else(run_command, tmp_path):
    (tmp_path / "mine" / "empty").mkdir(parents=True)
    assert run_command("train", "hydra.run.dir=mine/empty/new/run", "seed=-1")[0] == 1
    assert [path.name for path in (tmp_path / "mine").rglob("*")] == ["empty"]
    assert run_command("train", "hydra.run.dir=mine/empty", "seed=-1")[0] == 1
    assert (tmp_path / "mine" / "empty").is_dir()
    assert run_command("train", "-m", "seed=-1,-2", "hydra.sweep.dir=mine/empty/sweep")[0] == 1
    assert sorted(path.name for path in (tmp_path / "mine").rglob("*")) == ["empty", "multirun.yaml", "sweep"]


def test_a_command_that_writes_no_run_makes_no_folder(run_command, tmp_path):
    (tmp_path / "outputs" / "embed").mkdir(parents=True)
    run_command("embed", "action=list", "cache_dir=nowhere")
    run_command("check", "student=static", "teacher=static", "cache_dir=nowhere")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["embed", "outputs"]


@pytest.mark.parametrize("name", ["train", "evaluate"])
def test_a_run_folder_that_cannot_be_made_is_one_line_before_anything_is_computed(run_command, tmp_path, name):
    (tmp_path / "a file").write_text("x")
    places = ["a file/run", "x" * 300, "\0"] if sys.platform != "win32" else ["a file/run", "x" * 300, "Q:/no/such"]
    for place in places:
        code, out, err = run_command(name, f"hydra.run.dir={place}", "data=cached", "data.path=never read.txt")
        assert code == 1 and out == "" and err.count("\n") == 1, err
        assert "files cannot be written to this run folder" in err and "never read" not in err
    assert [path.name for path in tmp_path.iterdir()] == ["a file"]


def test_a_sweeps_folder_that_cannot_be_made_is_one_line(run_command, tmp_path):
    (tmp_path / "a file").write_text("x")
    code, _, err = run_command("train", "-m", "seed=0,1", "hydra.sweep.dir=a file/sweep")
    assert code == 1 and "files cannot be written to this run folder" in err and err.count("\n") == 1


def test_a_folder_that_refuses_files_is_one_line_before_anything_is_computed(run_command, tmp_path, monkeypatch):
    monkeypatch.setattr(folders, "why_no_name", lambda folder, length: PermissionError(13, "Permission denied"))
    code, _, err = run_command("train", "data=cached", "data.path=never read.txt")
    assert code == 1 and "(Permission denied); choose another with hydra.run.dir=" in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="makes a path of Linux' greatest length")
def test_a_path_near_the_limit_holds_a_whole_run_but_for_the_events_or_refuses_at_once(
    run_command, tmp_path, monkeypatch
):
    monkeypatch.setattr("socket.gethostname", lambda: "DESKTOP-ABCDEFG")

    def folder_with_room(characters):
        path = tmp_path
        while (left := 4095 - 1 - characters - len(str(path))) > 1:
            path = path / ("d" * min(left - 1, 200))
        return path

    folder = folder_with_room(52)
    code, out, err = run_command(*FAST, f"hydra.run.dir={folder}")
    assert code == 0, err[-500:]
    assert "no TensorBoard events, their names do not fit there" in " ".join(err.split())
    names = {path.name for path in folder.iterdir()}
    assert {"head", "baselines", "metrics.json", "config.yaml"} <= names and not any(
        "tfevents" in name for name in names
    )
    assert json.loads((folder / "metrics.json").read_text(encoding="utf-8"))["rows"]["aligned"]["cosine_mean"] > 0.5

    code, out, err = run_command(*FAST, f"hydra.run.dir={folder_with_room(40)}")
    assert code == 1 and out == "" and "the longest path in it has 4" in err and err.count("\n") == 1


def test_the_head_is_there_whatever_fails_after_training(run_command, tmp_path, monkeypatch):
    from alignkit import load_head
    from alignkit.commandline import training_results
    from alignkit.estimator import trained

    def fail(*given, **named):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(training_results, "log_evaluation", fail)
        code, out, err = run_command(*FAST, "hydra.run.dir=events")
    assert code == 0 and "TensorBoard's events could not be written (No space left on device)" in " ".join(err.split())
    assert (tmp_path / "events" / "metrics.json").is_file()

    monkeypatch.setattr(trained, "evaluate_training", fail)
    with pytest.raises(OSError):
        run_command(*FAST, "hydra.run.dir=run")
    assert load_head(tmp_path / "run").kind() == "linear"


def test_a_folder_whose_name_is_markup_to_a_library_is_shown_as_it_is(run_command, tmp_path):
    folder = tmp_path / "[draft] [/bold] run"
    code, out, err = run_command(*FAST, f"hydra.run.dir={folder}")
    assert code == 0 and out.endswith(f"head and report: {folder}\n"), err
    settings = ("resamples=10", "time_embedding=false", "html=false", "tensorboard=false")
    code, out, _ = run_command("evaluate", f"head={folder}", *settings, f"hydra.run.dir={folder}/evaluation")
    assert code == 0 and out.endswith(f"report: {folder / 'evaluation' / 'alignment_report.md'}\n")
    code, out, _ = run_command("demo", f"head={folder}", "samples=1")
    assert code == 0 and out.startswith(f"head: {folder}\n")

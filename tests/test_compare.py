"""`compare`, as a user calls it."""

import json
import shutil

import pytest

from alignkit.comparing.found_runs import FoundRuns, find_runs

NO_TIMES = ("time_embedding=false", "tensorboard=false", "hydra.run.dir=out")


def change(run, **meta):
    """Another run: its figures with other words beside them."""
    path = run / "metrics.json"
    whole = json.loads(path.read_text(encoding="utf-8"))
    better = meta.pop("better", 0.0)
    whole["meta"] |= meta
    whole["rows"]["aligned"][whole["meta"]["measure"]] += better
    path.write_text(json.dumps(whole), encoding="utf-8")


@pytest.fixture
def runs(trained_run, tmp_path):
    """Two runs on one set, the second one better and with another λ; an unfinished one."""
    for name in ("9", "10", "11"):
        shutil.copytree(trained_run, tmp_path / "outputs" / "train" / "lr=0.1" / name)
    folder = tmp_path / "outputs" / "train" / "lr=0.1"
    change(folder / "10", better=0.01)
    text = (folder / "10" / "config.yaml").read_text(encoding="utf-8")
    (folder / "10" / "config.yaml").write_text(text.replace("seed: 0", "seed: 7"), encoding="utf-8")
    (folder / "11" / "metrics.json").unlink()
    return folder


def told(tmp_path):
    return json.loads((tmp_path / "out" / "leaderboard.json").read_text(encoding="utf-8"))


def test_it_orders_all_runs_that_lie_in_a_folder(run_command, runs, tmp_path):
    code, out, _ = run_command("compare", "outputs", *NO_TIMES)
    assert code == 0 and all(len(line) <= 80 for line in out.splitlines() if "leaderboard: " not in line)
    (group,) = told(tmp_path)["groups"]
    assert [run["run"] for run in group["runs"]] == ["10", "9"] and group["teacher"] == "all-MiniLM-L6-v2"
    assert [run["settings"]["seed"] for run in group["runs"]] == ["7", "0"]
    for run in group["runs"]:
        assert run["intervals"][group["measure"]]["low"] < run["intervals"][group["measure"]]["high"]
        assert run["cost"]["head_us"] > 0 and run["cost"]["head_bytes"] == 4 * (384 + 1) * 384
    assert group["runs"][0]["on_front"] and "1* 10" in out and "1 unfinished and left out: 11" in out
    assert "choose by the validation split" in " ".join(out.split())
    code, out, _ = run_command("compare", "outputs", "objective=val/loss", *NO_TIMES, "hydra.run.dir=other")
    assert code == 0 and "val/loss" in out  # of a loss the least is best; equal ones keep their places


@pytest.mark.parametrize(
    "asked",
    [
        ["outputs/train/lr=0.1/10", "outputs/train/lr=0.1/9"],  # the shell's own pattern gives such words
        ["outputs/train/lr=0.1/*"],
        ["runs=outputs/train/lr=0.1/*/metrics.json"],
        ["runs=[outputs/train]"],
        ["outputs/train/*/10", "outputs/train/lr=0.1/9/metrics.json", "outputs/train/lr=0.1/9"],
    ],
)
def test_runs_are_named_as_people_name_them(run_command, runs, tmp_path, asked):
    code, _, err = run_command("compare", *asked, *NO_TIMES)
    assert code == 0, err
    assert {run["run"] for run in told(tmp_path)["groups"][0]["runs"]} == {"9", "10"}


@pytest.mark.parametrize("other", [{"test_set": "another"}, {"teacher_identity": {"model": "b"}}, {"measure": "mrr"}])
def test_what_cannot_be_compared_stands_apart_and_that_is_said(run_command, runs, tmp_path, other):
    change(runs / "9", **other)
    code, out, _ = run_command("compare", str(runs), *NO_TIMES)
    assert code == 0 and [len(group["runs"]) for group in told(tmp_path)["groups"]] == [1, 1]
    assert "2 tables: figures for another teacher, on another set or by another measure cannot be compared" in " ".join(
        out.split()
    )


def test_runs_of_an_older_version_are_told_apart_by_their_teachers_figures(run_command, runs, tmp_path):
    for run in ("9", "10"):
        whole = json.loads((runs / run / "metrics.json").read_text(encoding="utf-8"))
        del whole["meta"]["test_set"]
        (runs / run / "metrics.json").write_text(json.dumps(whole), encoding="utf-8")
    assert run_command("compare", str(runs), *NO_TIMES)[0] == 0
    assert len(told(tmp_path)["groups"]) == 1
    change(runs / "9", queries=7)
    assert run_command("compare", str(runs), *NO_TIMES)[0] == 0
    assert len(told(tmp_path)["groups"]) == 2


def test_what_is_broken_is_left_out_and_said(run_command, runs, tmp_path):
    shutil.copytree(runs / "10", runs / "12")
    (runs / "9" / "metrics.json").write_text("{", encoding="utf-8")
    (runs / "12" / "head" / "head.safetensors").write_bytes(b"x")
    code, _, _ = run_command("compare", str(runs), *NO_TIMES)
    whole = told(tmp_path)
    assert code == 0 and [(run["run"], run["cost"] is None) for run in whole["groups"][0]["runs"]] == [
        ("10", False), ("12", True)]  # fmt: skip
    assert any("not the figures of a training" in line for line in whole["remarks"])
    assert any("12: its head" in line and "sha256" in line for line in whole["remarks"])


@pytest.mark.parametrize(
    "damage",
    [
        {"intervals": [1]}, {"intervals": {"ndcg@10": 3}}, {"shares": 7}, {"validation": ["x"]}, {"judged": []},
        {"validation": {"val/loss": "low"}}, {"better": float("nan")}, {"better": float("inf")},
    ],
)  # fmt: skip
def test_damaged_figures_are_left_out_and_do_not_stop_the_others(runs, damage):
    from alignkit.commandline.leaderboards import measured_groups

    change(runs / "9", **damage)
    (group,), remarks = measured_groups(find_runs([str(runs)]), "val/loss", time_embedding=False)
    assert [entry.run.name for entry in group.entries] == ["10"]
    assert any("9/metrics.json: not the figures of" in line.replace("\\", "/") for line in remarks)


def test_runs_that_share_no_folder_have_their_whole_paths(monkeypatch, tmp_path):
    def on_two_drives(_):
        raise ValueError("Paths don't have the same drive")

    monkeypatch.setattr("os.path.commonpath", on_two_drives)
    runs = tmp_path / "a", tmp_path / "b"
    assert FoundRuns(runs, ()).names() == {run: run.resolve().as_posix() for run in runs}


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("nowhere", "nowhere: matches nothing"),
        ("outputs/train/lr=0.1/11", "none of these runs is finished"),
        ("empty", "empty: holds no run"),
        ("runs=[]", "runs=[]: expected folders of runs"),
        ("", "runs is not set"),
        ("outputs objective=val/cosinus", "objective=val/cosinus: expected one of"),
        ("outputs time_embedding=maybe", "time_embedding=maybe: expected true or false"),
    ],
)
def test_mistakes_are_one_line(run_command, runs, tmp_path, words, says):
    (tmp_path / "empty").mkdir()
    code, out, err = run_command("compare", *words.split())
    assert code == 1 and says in err and not out


def test_a_students_own_time_counts_where_it_runs_here(run_command, static_run, runs, tmp_path, monkeypatch):
    from alignkit.comparing import query_cost

    monkeypatch.setattr(query_cost, "ROUNDS", 1)
    shutil.copytree(static_run / "head", runs / "9" / "head", dirs_exist_ok=True)
    shutil.rmtree(runs / "10")
    code, out, _ = run_command("compare", str(runs), *NO_TIMES[1:])
    ((run,),) = (group["runs"] for group in told(tmp_path)["groups"])
    assert code == 0 and run["cost"]["student_us"] > 0 and run["cost"]["student_bytes"] > 1e6
    assert run["cost"]["query_us"] == run["cost"]["student_us"] + run["cost"]["head_us"]


def test_an_evaluation_is_compared_by_the_head_that_it_was_of(run_command, runs, tmp_path):
    evaluation = tmp_path / "outputs" / "evaluate" / "1"
    evaluation.mkdir(parents=True)
    shutil.copy(runs / "9" / "metrics.json", evaluation)
    change(evaluation, head=str(runs / "9"), validation=None, settings={"head": "x", "seed": 5})
    assert run_command("compare", "outputs/evaluate", str(runs / "10"), *NO_TIMES)[0] == 0
    found = {run["run"]: run for run in told(tmp_path)["groups"][0]["runs"]}
    assert found["evaluate/1"]["cost"]["head_bytes"] and found["evaluate/1"]["settings"]["seed"] == "5"

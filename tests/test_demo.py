"""Three searches side by side, on the demo pack and typed in."""

from __future__ import annotations

import io
import re

import pytest

from alignkit.aligned import AlignedEmbedder


def test_runs_without_an_argument_on_the_newest_run(run, run_command, tmp_path):
    code, out, err = run_command("demo")
    assert code == 0, err
    assert f"head: {run.relative_to(tmp_path)}" in out
    assert out.count("CPU milliseconds: head ") == 5
    assert all(heading in out for heading in ("student (own index)", "aligned (teacher's index)", "teacher"))
    assert re.search(r"0\.\d\d [+-]\d+ ", out)
    assert not (tmp_path / "outputs" / "demo").exists()  # it writes nothing


def test_the_same_seed_asks_the_same(run, run_command):
    def asked(*arguments):
        return re.sub(r"CPU milli.*", "", run_command("demo", "samples=2", "topk=3", *arguments)[1])

    assert asked() == asked()
    assert asked() != asked("seed=1")


def test_in_chinese(run, run_command):
    code, out, err = run_command("demo", "samples=1", "language=zh")
    assert code == 0, err
    assert "映射头：outputs" in out and "aligned（教师模型的索引）" in out and "CPU 毫秒数：映射头 " in out
    assert "-3：低三位" in out
    code, _, err = run_command("demo", "language=fr")
    assert code == 1 and err == "alignkit: language=fr: expected en or zh\n"


def test_numbers_below_one_are_refused(run, run_command):
    code, _, err = run_command("demo", "samples=0")
    assert code == 1 and "samples=0" in err
    for argument in ("topk=0", "topk=-1", "topk=true", "seed=-1"):
        code, _, err = run_command("demo", "interactive=true", argument)
        assert code == 1 and argument.split("=")[0] in err and err.count("\n") == 1
    code, _, err = run_command("demo", "topk=many")
    assert code == 1 and "topk=many" in err and err.count("\n") == 1


def test_no_run_says_how_to_get_one(run_command):
    code, _, err = run_command("demo")
    assert code == 1 and "python -m alignkit.train" in err


def test_typed_sentences_are_embedded_by_the_student(run, run_command, monkeypatch):
    pytest.importorskip("sentence_transformers")
    monkeypatch.setattr("sys.stdin", io.StringIO("[b]what is my pin\nplay a song\n\nnever asked\n"))
    code, out, err = run_command("demo", "interactive=true", "topk=2")
    assert code == 0, err
    assert "[b]what is my pin" in out and "song" in out and "never asked" not in out
    assert len(re.findall(r"embedding, \d+\.\d+ ms: this machine, CPU\nCPU milliseconds: head ", out)) == 2


def test_the_packs_own_table_needs_no_path(run_command, monkeypatch, tmp_path):
    """`train` takes its vectors from the pack, and what follows finds its files in the package."""
    pytest.importorskip("tokenizers")
    words = ("trainer.max_epochs=0", "confidence=false", "html=false")
    assert run_command("train", "student=table", *words, "hydra.run.dir=run")[0] == 0
    monkeypatch.setattr("sys.stdin", io.StringIO("what is my pin\n"))
    for student in ((), ("student=table",), ("student=table", "student.batch_size=7")):
        code, out, err = run_command("demo", "head=run", "samples=1", *student)
        assert code == 0 and "aligned (teacher's index)" in out, err
    code, out, err = run_command("demo", "head=run", "interactive=true", "topk=2")
    assert code == 0 and "what is my pin" in out and "embedding, " in out, err
    code, out, err = run_command("evaluate", "head=run", "time_embedding=false", "html=false", "resamples=50")
    assert code == 0 and "aligned" in out, err
    code, out, err = run_command("export", "head=run", "format=numpy", "out=exported")
    assert code == 0 and "demo pack" in out, err
    assert AlignedEmbedder.load(tmp_path / "run").encode(["what is my pin"]).shape == (1, 384)


def test_a_table_of_ones_own_stands_in_for_the_packs(run_command, tmp_path):
    """Named by its path, it embeds the pack's sentences itself."""
    pytest.importorskip("tokenizers")
    import json

    from small_table import save_table

    own = save_table(tmp_path / "own")
    words = ("student=table", f"student.path={own}", "trainer.max_epochs=0", "confidence=false", "html=false")
    code, out, err = run_command("train", *words, "hydra.run.dir=run")
    assert code == 0, err
    assert json.loads((tmp_path / "run" / "head" / "head.json").read_text(encoding="utf-8"))["student_dim"] == 16
    code, _, err = run_command("demo", "head=run", "samples=1")
    assert code == 1 and "this head expects 16-d" in err and err.count("\n") == 1
    assert run_command("demo", "head=run", "samples=1", *words[:2])[0] == 0


def test_another_student_cannot_be_typed_to(run, run_command, monkeypatch):
    pytest.importorskip("sentence_transformers")
    monkeypatch.setattr("sys.stdin", io.StringIO("hello\n"))
    code, _, err = run_command("demo", "interactive=true", "student=static")
    assert code == 1 and "256-d" in err and "384-d" in err


def test_bare_vectors_have_nothing_to_show(run_command, make_pairs, tmp_path):
    import numpy as np

    pairs = make_pairs(200)
    np.save(tmp_path / "student.npy", pairs.student)
    np.save(tmp_path / "teacher.npy", pairs.teacher)
    files = ("data=vectors", "data.student=student.npy", "data.teacher=teacher.npy")
    assert run_command("train", *files, "trainer.max_epochs=0", "html=false", "confidence=false")[0] == 0
    code, _, err = run_command("demo", *files)
    assert code == 1 and "the sentences behind the test vectors are not known" in err
    (tmp_path / "own.txt").write_text("\n".join(f"sentence {row}" for row in range(200)), encoding="utf-8")
    tests = ("data.sentences=own.txt", "data.test_student=student.npy", "data.test_teacher=teacher.npy")
    code, _, err = run_command("demo", *files, *tests)
    assert code == 1 and "and no test files" in err and err.count("\n") == 1

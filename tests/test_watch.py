"""`watch` as a user runs it: days like the training, days unlike it, and everything that can be wrong about them.

Both models are tables of the package, so that a teacher's call costs nothing.
"""

import json
import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from measured_sets import ridge_of

from alignkit.artifact import load_artifact, save_head
from alignkit.embedders.base import embed_all
from alignkit.embedders.static import StaticEmbedder
from alignkit.embedders.table import TableEmbedder
from alignkit.pairs.base import Origin, Pairs, PairSplits
from alignkit.resources.demo_pack import PACK, TABLE
from alignkit.runs.fingerprints import save_fingerprints
from alignkit.runs.held_out_sample import HeldOutSample
from alignkit.runs.training_sample import TrainingSample
from alignkit.sentences.query_logs import LoggedBy
from alignkit.serving.log_folder import LogFolder
from alignkit.serving.query_log import QueryLog

# as nobody asks an assistant
STRANGE = (
    "kubelet evicts pod {0} since node {1} has a taint",
    "segfault in malloc at offset 0x{0}f{1} of libc",
    "git rebase leaves {0} conflicts in module {1}",
)


@pytest.fixture(scope="module")
def texts():
    """Half of the demo's training sentences to train on, and the others, which come later."""
    pytest.importorskip("wordllama")
    lines = (PACK / "sentences.jsonl").read_text(encoding="utf-8").splitlines()
    found = [row["text"] for row in map(json.loads, lines) if row["split"] == "train"]
    return found[0::2], found[1::2]


@pytest.fixture(scope="module")
def trained(texts, tmp_path_factory):
    """What `train` leaves of it, without the time that a report takes."""
    models = {"student": StaticEmbedder(), "teacher": TableEmbedder(TABLE)}
    vectors = {side: embed_all(model, texts[0], "query") for side, model in models.items()}
    parts = [slice(0, 900), slice(900, 1100), slice(1100, None)]
    pairs = [
        Pairs(ids=[str(row) for row in range(len(texts[0]))][part], texts=texts[0][part],
              **{side: found[part] for side, found in vectors.items()}) for part in parts
    ]  # fmt: skip
    identities = {f"{side}_identity": model.identity("query") for side, model in models.items()}
    splits = PairSplits(*pairs, Origin("demo", real=True, split="by hand", **identities))
    head = ridge_of(splits.train.student, splits.train.teacher)
    folder = tmp_path_factory.mktemp("watched") / "run"
    save_head(head, folder / "head", metrics={"aligned": {"overlap@10": 0.7, "cosine_mean": 0.8}}, **identities)
    (folder / "baselines").mkdir()
    save_fingerprints(folder, splits)
    TrainingSample.of(splits).save(folder)
    HeldOutSample.of(splits).save(folder)
    return folder


@pytest.fixture
def head(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / "run")


@pytest.fixture
def watch(run_command, head):
    def look(queries, *words, out="out"):
        models = ("student=static", "teacher=table", f"teacher.path={TABLE}")
        words = (f"head={head}", f"queries={queries}", *models, f"hydra.run.dir={out}", *words)
        code, printed, said = run_command("watch", *words)
        assert all(
            len(line.rstrip()) <= 80 for line in printed.splitlines() if not line.startswith(("report:", "报告："))
        )
        return code, " ".join(printed.split()), said  # lines are folded

    return look


def log(path, texts, day=None):
    rows = [{"text": text} | ({} if day is None else {"time": f"{day}T10:00:00Z"}) for text in texts]
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return path


def meta(folder):
    return json.loads((folder / "metrics.json").read_text(encoding="utf-8"))["meta"]["watch"]


def test_a_day_like_the_training_a_day_unlike_it_and_the_course(watch, texts, tmp_path, head):
    plain = log(tmp_path / "monday.jsonl", texts[1][:500], "2026-05-04")
    code, out, err = watch(plain, out="monday")
    assert code == 0, err
    assert "As before" in out and "(as_before)" in out
    found = meta(tmp_path / "monday")
    assert found["verdict"] == "as_before" and found["calls"] == 200 and found["since"] is None
    assert found["unlikeness"]["all"]["far"] < 0.05 and found["unlikeness"]["days"][0]["name"] == "2026-05-04"
    assert min(found["lowest_cosines"].values()) > 0.999 and len(found["lowest_cosines"]) == 2
    assert found["in_report"] == {"overlap@10": 0.7, "cosine_mean": 0.8} and "0.700 in the head's own report" in out

    strange = [STRANGE[one % 3].format(one % 17, one % 13) for one in range(200)]
    unlike = log(tmp_path / "tuesday.jsonl", strange + texts[1][500:600], "2026-05-05")
    code, out, err = watch(unlike, "html=true", out="tuesday")
    assert code == 3, err
    assert "Worse, since 2026-05-05" in out and "the queries have changed" in out and "kubelet" in out
    found = meta(tmp_path / "tuesday")
    assert found["verdict"] == "worse" and found["change"]["high"] < -0.1 and len(found["looks"]) == 2
    everything = found["unlikeness"]["all"]
    assert everything["far"] > 0.3 and 0.2 < everything["new_tokens"] < everything["new_words"]  # "evicts" is ev, icts
    first = found["unlikeness"]["clusters"][0]
    assert first["far"] > 0.5 and len(first["examples"]) == 3 and len(set(first["examples"])) == 3
    page = (tmp_path / "tuesday" / "report.html").read_text(encoding="utf-8")
    assert "<svg" in page and "src=" not in page and "2026-05-04" in page and "Worse, since 2026-05-05" in page
    kept = "".join(path.read_text(encoding="utf-8") for path in (head / "watch").rglob("*.json"))
    assert "kubelet" not in kept  # what is kept beside the head holds no texts


def test_a_day_of_questions_for_programmers(watch, tmp_path, shared_data):
    code, out, err = watch(shared_data / "stackfaq" / "queries.jsonl", "html=false")
    assert code == 3, err
    found = meta(tmp_path / "out")
    assert found["verdict"] == "worse" and found["calls"] == 200 and "the queries have changed" in out
    everything, first = found["unlikeness"]["all"], found["unlikeness"]["clusters"][0]
    assert everything["queries"] == 1_249 and everything["far"] > 0.2 and everything["new_words"] > 0.2
    assert len(first["examples"]) == 3 and all(example[:20] in out for example in first["examples"])


def test_the_log_of_a_server_is_looked_at_and_that_of_another_student_is_not(watch, texts, tmp_path, head):
    identity = load_artifact(head).student_identity
    by = LoggedBy("0011aabb", identity, "cd" * 32, None, 1.0, "")
    folder = LogFolder(tmp_path / "log", by, 10_000_000, 30)
    for start in range(0, 400, 100):  # as a server does, second by second
        queries = QueryLog(folder)
        queries.take(texts[1][start : start + 100], "/search", "head")
        queries._write(queries._waiting)
    code, out, err = watch(tmp_path / "log", "html=false", out="a")
    assert code == 0, err
    found = meta(tmp_path / "a")
    assert found["verdict"] == "as_before" and found["calls"] == 200 and found["unlikeness"]["all"]["queries"] == 400
    other = LoggedBy("2233ccdd", {**identity, "digest": "ef" * 32}, "cd" * 32, None, 1.0, "")
    (tmp_path / "log" / "about-2233ccdd.json").write_text(other.to_json(), encoding="utf-8")
    code, _, err = watch(tmp_path / "log", out="b")
    assert code == 1 and "the log of a server with another student (digest" in err and err.count("alignkit:") == 1


def test_without_a_call_the_queries_are_described_and_nothing_is_kept(watch, texts, tmp_path, head):
    words = ("budget=0", "teacher.path=nowhere", "html=false")
    code, out, err = watch(log(tmp_path / "live.jsonl", texts[1][:100]), *words)
    assert code == 0, err
    assert "was not asked" in out and "of 100 queries are farther" in out
    assert not (head / "watch").exists() and not (tmp_path / "cache").exists()
    assert set(meta(tmp_path / "out")) >= {"unlikeness", "lowest_cosines"}
    assert not (tmp_path / "out" / "report.html").exists()


def test_a_page_is_safe_from_what_queries_say(watch, tmp_path):
    evil = [f"<script>alert({one})</script><img src=x onerror=alert(1)> \x1b[31m number {one}" for one in range(40)]
    code, out, err = watch(log(tmp_path / "live.jsonl", evil), "budget=0", out="evil")
    assert code == 0, err
    assert "\x1b" not in out

    class Tags(HTMLParser):
        found = set()

        def handle_starttag(self, tag, attributes):
            self.found.add(tag)

    Tags().feed((tmp_path / "evil" / "report.html").read_text(encoding="utf-8"))
    assert "p" in Tags.found and not Tags.found & {"script", "img"}


def test_a_look_is_told_in_chinese(watch, texts, tmp_path):
    code, out, err = watch(log(tmp_path / "live.jsonl", texts[1][:150], "2026-05-04"), "html=true", "language=zh")
    assert code == 0, err
    assert "与以前一样：线上查询的表现与训练时留出的文本相当。 (as_before)" in out
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert '<html lang="zh-CN">' in page and "映射头还和以前一样好吗？" in page
    shown = re.sub(r"<style>.*?</style>|<svg.*?</svg>|<td>.*?</td>", "", page, flags=re.DOTALL)
    english = re.compile(r"[A-Za-z]+ (?:is|are|of|the|from|with|to|in) [a-z]+")
    assert english.findall(re.sub(r"<[^>]*>", "|", shown)) == []
    told = out.partition("日期")[0]  # below are examples of the queries
    assert english.findall(told) == [] and "%" in told


def test_a_log_that_grows_is_asked_for_what_is_new_until_nothing_is(watch, texts, tmp_path):
    path = log(tmp_path / "live.jsonl", texts[1][:40])
    words = ("budget=30", "html=false")
    assert watch(path, *words, out="a")[0] == 0
    code, out, err = watch(path, *words, out="b")
    assert code == 0 and "there are 10 queries that were not asked for before; all are taken" in out
    assert meta(tmp_path / "b")["calls"] == 40 and "too_little_data" in out
    code, _, err = watch(path, *words, out="c")
    assert code == 1 and "no query is left to ask" in err and err.count("alignkit:") == 1


def test_queries_that_the_head_was_trained_on_are_not_asked_for(watch, texts, tmp_path):
    own = [text.upper() + "!" for text in texts[0][:200]]
    code, out, err = watch(log(tmp_path / "live.jsonl", own + texts[1][:30]), "html=false", out="a")
    assert code == 0, err
    assert meta(tmp_path / "a")["calls"] == 30 and "200 of 230 queries are texts that the head was trained on" in out
    code, _, err = watch(log(tmp_path / "own.jsonl", own), "html=false", out="b")
    assert code == 1 and "the head was trained on all of them" in err


def test_an_index_that_changed_is_told_from_queries_that_changed(watch, texts, tmp_path):
    """The head's own held-out queries find less in it too."""
    teacher = TableEmbedder(TABLE)
    corpus = embed_all(teacher, texts[0][:600], "query")
    np.save(tmp_path / "index.npy", corpus)
    words = ("corpus=index.npy", "html=false")
    assert watch(log(tmp_path / "a.jsonl", texts[1][:300]), *words, out="a")[0] == 0
    first = meta(tmp_path / "a")
    assert first["place"].endswith("index.npy") and first["index_change"] is None
    noise = np.random.default_rng(0).standard_normal((15 * len(corpus), corpus.shape[1])).astype(np.float32)
    crowded = np.repeat(corpus, 15, axis=0) + 0.02 * noise
    np.save(tmp_path / "index.npy", crowded)
    code, out, err = watch(log(tmp_path / "b.jsonl", texts[1][300:600]), *words, out="b")
    assert code == 3, err
    assert "the index has changed" in out and meta(tmp_path / "b")["index_change"]["high"] < 0


def test_an_engine_is_searched_where_it_lives(watch, texts, tmp_path):
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    vectors = embed_all(TableEmbedder(TABLE), texts[0], "query")
    flat = pyarrow.array(vectors.ravel(), pyarrow.float32())
    column = pyarrow.FixedSizeListArray.from_arrays(flat, vectors.shape[1])
    table = pyarrow.table({"id": list(range(len(vectors))), "vector": column})
    parquet.write_table(table, tmp_path / "docs.parquet")
    words = ("index=parquet", "index.path=docs.parquet", "html=false")
    code, _, err = watch(log(tmp_path / "a.jsonl", texts[1][:150]), *words)
    assert code == 0, err
    assert "docs.parquet" in meta(tmp_path / "out")["place"]


def test_a_replaced_teacher_and_a_replaced_student_are_named(watch, texts, tmp_path, monkeypatch, head):
    path = log(tmp_path / "live.jsonl", texts[1][:50])
    embed = TableEmbedder.embed

    for side in ("teacher", "student"):

        def replaced(self, texts, role="document", side=side):
            by = isinstance(self, StaticEmbedder) == (side == "student")
            for batch in embed(self, texts, role):
                yield replace(batch, vectors=np.roll(batch.vectors, int(by), axis=1))

        monkeypatch.setattr(TableEmbedder, "embed", replaced)
        code, _, err = watch(path, "html=false", out=side)
        assert code == 1 and f"the {side} was replaced: texts that the run keeps" in err and err.count("alignkit:") == 1
    assert not list((head / "watch").rglob("look-*.json"))


def test_a_bare_head_is_compared_with_its_first_look(watch, texts, tmp_path, head, run_command):
    bare = shutil.copytree(head / "head", tmp_path / "bare")
    np.save(tmp_path / "index.npy", embed_all(TableEmbedder(TABLE), texts[0], "query"))
    words = ("corpus=index.npy", "html=false", f"head={bare}")
    code, out, err = watch(log(tmp_path / "a.jsonl", texts[1][:200]), *words, out="a")
    assert code == 0, err
    assert "too_little_data" in out and "this look is what later ones are compared with" in out
    code, out, err = watch(log(tmp_path / "b.jsonl", texts[1][200:400]), *words, out="b")
    assert code == 0 and "the queries of the first look" in out, err
    code, _, err = watch(tmp_path / "a.jsonl", f"head={bare}", out="c")
    assert code == 1 and "there is nothing to search" in err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("budget=-1",), "budget=-1: expected a whole number of at least 0"),
        (("budget=few",), "budget=few"),
        (("corpus=index.npy", "index=parquet", "index.path=x.parquet"), "give one of them"),
        (("corpus=nowhere.npy",), "no such file"),
        (("queries=nowhere.jsonl",), "there is no file nowhere.jsonl"),
        (("head=nowhere",), "no head.json"),
        (("text_column=words",), "no column 'words'"),
    ],
)
def test_what_is_wrong_is_one_line_before_anything_is_asked(watch, texts, tmp_path, words, said, head):
    code, _, err = watch(log(tmp_path / "live.jsonl", texts[1][:5]), *words)
    assert code == 1 and said in err and err.count("alignkit: ") == 1 and "Traceback" not in err
    assert not list(tmp_path.rglob("look-*.json"))

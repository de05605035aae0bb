import json
from collections import Counter

import pytest

from alignkit.errors import ConfigError, DataError
from alignkit.sentences.beir import read_beir
from alignkit.sentences.import_pool import ImportCounts
from alignkit.sentences.importing import import_samples
from alignkit.sentences.normalise import normalise_text
from alignkit.sentences.pair_files import read_pairs, read_sts


def write(path, *rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [row if isinstance(row, str) else json.dumps(row, ensure_ascii=False) for row in rows]
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return path


@pytest.fixture
def beir(tmp_path):
    write(tmp_path / "corpus.jsonl", {"_id": "d1", "title": "T", "text": "one"}, {"_id": "d2", "text": "two"})
    write(tmp_path / "queries.jsonl", {"_id": "q1", "text": "which?"}, {"_id": "q2", "text": "unjudged"})
    write(tmp_path / "qrels" / "test.tsv", "query-id\tcorpus-id\tscore", "q1\td1\t2", "q1\td2\t0")
    return tmp_path


def test_beir_joins_title_and_text_and_keeps_judged_queries(beir):
    found = read_beir(beir)
    assert (found.corpus_ids, found.corpus_texts) == (["d1", "d2"], ["T one", "two"])
    assert (found.query_ids, found.query_texts) == (["q1"], ["which?"])
    assert found.qrels == {"q1": {"d1": 2, "d2": 0}} and found.unknown_ids == ()


def test_unknown_ids_in_the_judgements_are_counted_and_the_first_three_named(beir):
    with (beir / "qrels" / "test.tsv").open("a", encoding="utf-8") as file:
        file.write("q1\td7\t1\nq9\td8\t1\nq1\td9\t1\n")
    with pytest.raises(DataError, match=r"name 4 ids that are in neither .* such as d7, q9, d8$"):
        read_beir(beir)
    assert read_beir(beir, allow_unknown=True).unknown_ids == ("d7", "q9", "d8", "d9")


def test_beir_faults_are_named(beir):
    with pytest.raises(DataError, match=r"has no dev.tsv; found: test"):
        read_beir(beir, split="dev")
    write(beir / "qrels" / "test.tsv", "query-id\tcorpus-id\tscore", "q1\td1\thigh")
    with pytest.raises(DataError, match=r"test.tsv, line 2: score must be an integer, got 'high'"):
        read_beir(beir)
    write(beir / "qrels" / "test.tsv", "query\tdocument\tscore", "q1\td1\t1")
    with pytest.raises(DataError, match="no column 'query-id'; found: query, document, score"):
        read_beir(beir)
    write(beir / "queries.jsonl", {"_id": "q1", "text": "a"}, {"_id": "q1", "text": "b"})
    with pytest.raises(DataError, match=r"queries.jsonl, line 2: _id 'q1' appears twice"):
        read_beir(beir)


def test_sts_finds_its_columns_or_takes_those_named(tmp_path):
    path = write(tmp_path / "a.jsonl", {"sentence1": "a", "sentence2": "b", "c": "d", "score": "4.5"})
    assert read_sts(path).scores.tolist() == [4.5]
    assert read_sts(path, "sentence2", "c").second == ["d"]
    with pytest.raises(DataError, match="no column 'nothing'; found: sentence1, sentence2, c, score"):
        read_sts(path, "nothing", "c")


@pytest.mark.parametrize("score", ["much", [], "inf", float("inf")])
def test_a_score_that_is_no_number_is_named_by_line(tmp_path, score):
    good = {"text1": "a", "text2": "b", "score": 1}
    path = write(tmp_path / "a.jsonl", good, good | {"score": score})
    with pytest.raises(DataError, match="line 2: score must be a number, got"):
        read_sts(path)


@pytest.mark.parametrize("missing", [None, "", "nan", float("nan"), "NULL", "N/A"])
def test_pairs_without_a_score_are_left_out_and_counted(tmp_path, missing, caplog):
    good = {"text1": "a", "text2": "b", "score": 0}
    path = write(tmp_path / "a.jsonl", good, good | {"score": missing}, good | {"score": 2})
    assert read_sts(path).scores.tolist() == [0, 2]
    assert "1 of 3 pairs have no score and were left out" in caplog.text
    with pytest.raises(DataError, match="none of its 2 pairs has a score"):
        read_sts(write(tmp_path / "b.jsonl", good | {"score": missing}, good | {"score": missing}))


@pytest.mark.parametrize("missing", [None, "", "nan", float("nan"), "None"])
def test_a_pair_without_a_label_means_neither_the_same_nor_another(tmp_path, missing, caplog):
    rows = [("a", "b", 1), ("c", "d", missing), ("e", "f", "0.0")]
    path = write(tmp_path / "a.jsonl", *({"text1": one, "text2": two, "same": same} for one, two, same in rows))
    assert [pair.same for pair in read_pairs(path)] == [True, None, False]
    assert "1 of 3 pairs have no label" in caplog.text
    found = {one.text: one for one in import_samples(path)}
    assert found["a"].paraphrases and not found["c"].paraphrases and not found["c"].hard_negatives


@pytest.mark.parametrize("missing", [None, "", " ", float("nan")])
def test_a_beir_row_without_an_id_is_named_and_one_without_a_title_has_none(beir, missing):
    write(beir / "corpus.jsonl", {"_id": "d1", "title": missing, "text": "one"}, {"_id": "d2", "text": "two"})
    assert read_beir(beir).corpus_texts == [f"{missing if missing == ' ' else ''} one".strip(), "two"]
    write(beir / "queries.jsonl", {"_id": "q1", "text": "a"}, {"_id": missing, "text": "b"})
    with pytest.raises(DataError, match=r"queries.jsonl, line 2: _id is empty"):
        read_beir(beir)


def test_grades_with_a_point_are_whole_numbers_but_a_missing_one_is_named(beir):
    write(beir / "qrels" / "test.tsv", "query-id\tcorpus-id\tscore", "q1\td1\t1.0")
    assert read_beir(beir).qrels == {"q1": {"d1": 1}}
    for grade in ("nan", "", "0.5", "inf"):
        write(beir / "qrels" / "test.tsv", "query-id\tcorpus-id\tscore", f"q1\td1\t{grade}")
        with pytest.raises(DataError, match="line 2: score must be an integer"):
            read_beir(beir)


def test_a_file_without_scored_pairs_is_named(tmp_path):
    path = tmp_path / "pairs.csv"
    path.write_text("sentence1,sentence2,score\n", encoding="utf-8")
    with pytest.raises(DataError, match="holds no pair"):
        read_sts(path)


def test_pair_faults_are_named(tmp_path):
    with pytest.raises(DataError, match="no two columns of text; found: a, b"):
        read_pairs(write(tmp_path / "a.jsonl", {"a": "1", "b": "2"}))
    with pytest.raises(DataError, match="line 1: is_duplicate must be 0 or 1, got 'yes'"):
        read_pairs(write(tmp_path / "b.jsonl", {"question1": "1", "question2": "2", "is_duplicate": "yes"}))
    with pytest.raises(DataError, match="holds no pair"):
        read_pairs(write(tmp_path / "c.csv", "question1,question2"))


def test_plain_sentences_stand_alone_without_blanks_and_repetitions(tmp_path):
    samples = list(import_samples(write(tmp_path / "mine.txt", "One.", "", "one", "two  and\tthree", "三。")))
    assert [sample.text for sample in samples] == ["One.", "two and three", "三。"]
    assert [sample.language for sample in samples] == ["en", "en", "zh"]
    assert len({sample.group for sample in samples}) == 3
    assert {(sample.paraphrases, sample.hard_negatives) for sample in samples} == {((), ())}


def test_intents_make_paraphrases_of_one_label_and_oos_none(tmp_path):
    rows = [{"text": f"pay {number}", "label": "pay"} for number in range(7)]
    rows += [{"text": f"odd {number}", "label": "oos"} for number in range(2)]
    samples = list(import_samples(write(tmp_path / "i.jsonl", *rows)))
    assert [(sample.intent, len(sample.paraphrases)) for sample in samples] == [
        ("pay", 4),
        ("pay", 1),
        ("", 0),
        ("", 0),
    ]
    assert samples[0].group == samples[1].group != samples[2].group != samples[3].group


NO_LABELS = ["", " ", "nan", "NaN", "None", "NULL", "null", "N/A", "#N/A", "<NA>", "NA", "-"] + [
    "\\N",
    "?",
    "—",
    "[]",
    "{}",
    "...",
    "\u200b",
    "(null)",
    "(blank)",
    "#VALUE!",
    "undefined",
    "Unknown",
    "unlabeled",
    "OOS",
]


@pytest.mark.parametrize("missing", NO_LABELS)
def test_sentences_without_a_label_are_no_paraphrases_of_each_other(tmp_path, missing):
    rows = [f"sentence {row},{'pay' if row < 3 else missing}" for row in range(9)]
    counts = ImportCounts()
    samples = list(import_samples(write(tmp_path / "i.csv", "text,label", *rows), counts=counts))
    assert [(one.intent, len(one.paraphrases)) for one in samples] == [("pay", 2)] + [("", 0)] * 6
    assert len({one.group for one in samples}) == 7
    assert counts.line() == "9 texts read" + "; 6 without a label, each a group of its own" * (missing != "OOS")


@pytest.mark.parametrize("sign", ["+", "👍", "A-", "$", "0", "不"])
def test_a_sign_is_a_label(tmp_path, sign):
    rows = [f"sentence {row},{sign}" for row in range(3)]
    found = list(import_samples(write(tmp_path / "i.csv", "text,label", *rows)))
    assert [(one.intent, len(one.paraphrases)) for one in found] == [(sign, 2)]


def test_labels_that_json_writes_as_nothing_and_numbers_that_are_one_label(tmp_path):
    labels = [None, float("nan"), 3, 3.0, "3", "#3", "#3", " pay ", "pay"]
    rows = [{"text": f"sentence {row}", "label": label} for row, label in enumerate(labels)]
    found = list(import_samples(write(tmp_path / "i.jsonl", *rows), no_intent=[7]))
    assert [(one.intent, len(one.paraphrases)) for one in found] == [
        ("", 0), ("", 0), ("3", 2), ("#3", 1), ("pay", 1),
    ]  # fmt: skip
    assert len({one.group for one in found}) == 5
    assert [one.intent for one in import_samples(tmp_path / "i.jsonl", no_intent=[3])][2:5] == ["", "", ""]


def test_signs_that_matter_make_other_sentences_and_what_is_left_out_is_counted(tmp_path):
    texts = ["C", "C#", "C++", "5 degrees", "-5 degrees", "10", "10%", "home", "@home", "A*", "A", ".net", "net"]
    counts = ImportCounts()
    path = write(tmp_path / "a.txt", *texts, "Home!", "home", " ")
    assert [one.text for one in import_samples(path, counts=counts)] == texts
    assert counts.line() == (
        "16 texts read; left out: 1 blank, 1 repeated, 1 like another except in case, width, spacing or punctuation "
        "('home' and 'Home!')"
    )


def test_pairs_that_differ_in_a_sign_stay_pairs(tmp_path):
    rows = [{"text1": "5 degrees", "text2": "-5 degrees", "same": 0}, {"text1": "Hi", "text2": "hi!", "same": 1}]
    counts = ImportCounts()
    found = list(import_samples(write(tmp_path / "p.jsonl", *rows), counts=counts))
    assert found[0].hard_negatives[0].text == "-5 degrees" and counts.equal_pairs == 1
    assert "1 pair of equal texts" in counts.line()


def test_pairs_become_groups_and_other_meanings_hard_negatives(tmp_path):
    rows = [("a", "b", 1), ("b", "c", 1), ("a", "x", 0), ("p", "q", 1)]
    path = write(
        tmp_path / "p.jsonl", *({"question1": one, "question2": two, "is_duplicate": same} for one, two, same in rows)
    )
    samples = list(import_samples(path))
    assert [(one.text, one.paraphrases) for one in samples] == [("a", ("b", "c")), ("x", ()), ("p", ("q",))]
    assert [[(n.text, n.kind) for n in one.hard_negatives] for one in samples] == [
        [("x", "labelled")],
        [("a", "labelled")],
        [],
    ]
    assert samples[0].group == samples[1].group != samples[2].group


def test_many_texts_of_one_meaning_share_an_intent(tmp_path):
    rows = [{"text1": "t0", "text2": f"t{number}"} for number in range(1, 7)]
    samples = list(import_samples(write(tmp_path / "p.jsonl", *rows)))
    assert [(len(one.paraphrases), one.intent) for one in samples] == [(4, "meaning-0"), (1, "meaning-0")]


def test_sts_scores_decide_what_is_a_paraphrase_and_what_is_not(tmp_path):
    rows = [("a", "b", 4.0), ("c", "d", 2.0), ("e", "f", 3.0), ("g", "h", 5.0)]
    path = write(tmp_path / "s.jsonl", *({"text1": one, "text2": two, "score": score} for one, two, score in rows))
    found = {one.text: one for one in import_samples(path)}
    assert found["a"].paraphrases == ("b",) and found["c"].hard_negatives[0].text == "d"
    assert not found["e"].paraphrases and not found["e"].hard_negatives and found["e"].group == found["f"].group


def test_beir_makes_documents_the_paraphrases_of_their_query(beir):
    samples = list(import_samples(beir))
    assert [(one.text, one.paraphrases) for one in samples] == [("which?", ("T one",)), ("two", ())]


def test_what_cannot_be_imported_is_said(tmp_path):
    with pytest.raises(DataError, match="folder without corpus.jsonl"):
        import_samples(tmp_path)
    with pytest.raises(DataError, match="holds no sentence"):
        import_samples(write(tmp_path / "a.txt", "", " "))
    with pytest.raises(ConfigError, match="kind=poems: expected one of auto, sentences"):
        import_samples(tmp_path / "a.txt", "poems")
    with pytest.raises(ConfigError, match="limit=0"):
        import_samples(tmp_path / "a.txt", limit=0)


@pytest.mark.parametrize(
    ("name", "samples", "with_paraphrases"),
    [
        ("clinc150/val.jsonl", 600, 600),
        ("clinc150/oos_test.jsonl", 1000, 0),
        ("crosswoz/utterances.tsv", 14259, 0),
        ("ir_adi", 57, 35),
        ("ir_cranfield", None, 225),
        ("stackfaq", 1249, 1249),
        ("stsb/test.jsonl", None, None),
        ("tatoeba_en_zh/eval.tsv", 2546, 2546),
    ],
)
def test_every_public_set_is_read(shared_data, name, samples, with_paraphrases):
    found = list(import_samples(shared_data / name))
    assert samples is None or abs(len(found) - samples) <= 5
    if with_paraphrases is not None:
        assert abs(sum(bool(one.paraphrases) for one in found) - with_paraphrases) <= 5
    assert len({one.id for one in found}) == len(found)
    assert all(normalise_text(one.text) not in map(normalise_text, one.paraphrases) for one in found)
    assert set(Counter(one.language for one in found)) <= {"en", "zh"}


def test_a_public_file_can_be_cut_short(shared_data):
    assert len(list(import_samples(shared_data / "clinc150" / "val.jsonl", limit=7))) == 7


def test_public_judgements_and_scores_are_complete(shared_data):
    sizes = {name: read_beir(shared_data / name) for name in ("ir_adi", "ir_cranfield", "stackfaq")}
    assert [(len(one.corpus_ids), len(one.query_ids), sum(map(len, one.qrels.values()))) for one in sizes.values()] == [
        (82, 35, 170),
        (1400, 225, 1612),
        (125, 1249, 1249),
    ]
    scored = read_sts(shared_data / "stsb" / "test.jsonl", "zh1", "zh2")
    assert len(scored.first) == 1379 and 0 <= scored.scores.min() and scored.scores.max() == 5

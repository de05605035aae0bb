"""A table made from a teacher and texts, as a user has it: a folder that others load, within a budget of calls."""

import json

import numpy as np
import pytest

pytest.importorskip("tokenizers")
from small_embedder import SmallEmbedder
from small_table import rows_for, save_table, word_pieces

from alignkit.embedders.base import embed_all
from alignkit.embedders.table import TableEmbedder
from alignkit.errors import AlignkitError, EmbedderError
from alignkit.runs.table_report import TableReport
from alignkit.tables import making
from alignkit.tables.making import make_table

SUBJECTS = ["the parcel", "my order", "a refund", "our invoice", "this password", "the account", "your booking"]
VERBS = ["arrived late", "was never sent", "cannot be found", "is wrong again", "needs a change", "got cancelled"]
ASKS = ["what now?", "please help!", "can you check?", "is that normal?", "who can tell me?"]
TEXTS = [f"{subject} {verb}, {ask}" for subject in SUBJECTS for verb in VERBS for ask in ASKS]


class WordTeacher(SmallEmbedder):
    """A sentence's vector is a fixed mixture of its words', and of their order: a table can learn most of it."""

    def _vector(self, text):
        words = text.lower().replace(",", " ,").replace("?", " ?").replace("!", " !").split()
        vectors = [super(WordTeacher, self)._vector(word) for word in words]
        return np.sum(vectors, axis=0) + 0.3 * vectors[0]


def cosines(found, wanted):
    found, wanted = (part / np.linalg.norm(part, axis=1, keepdims=True) for part in (found, wanted))
    return (found * wanted).sum(axis=1)


@pytest.fixture
def teacher():
    return WordTeacher("teacher", dim=12)


@pytest.fixture
def made(teacher, tmp_path):
    report = make_table(TEXTS[::2], teacher, tmp_path / "cache", tmp_path / "table")
    return report, TableEmbedder(report.folder)


def test_a_table_embeds_texts_that_it_was_not_made_of(made):
    report, table = made
    vectors = embed_all(table, [*TEXTS[1::2], "Zebras  never ATE quinces\u2026", "\U0001f600\U0001f600 ok\U0001f600"])
    assert vectors.shape[1] == report.width == 12
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    # words of the training texts are entries of their own, each asked for alone
    assert {"parcel", "cancelled", "invoice"} <= set(table.table.tokenizer.get_vocab())
    assert table.table.tokenizer.encode("cancelled invoice").tokens == ["cancelled", "invoice"]


def test_with_the_texts_vectors_the_rows_are_fitted_to_them(teacher, tmp_path, made):
    """Held-out texts, and the table alone, without a head."""
    wanted = embed_all(teacher, TEXTS)
    report = make_table(TEXTS[::2], teacher, tmp_path / "cache", tmp_path / "fitted", vectors=wanted[::2])
    assert report.fitted_on == len(TEXTS[::2]) and report.calls == 0  # the entries were in the cache
    before = cosines(embed_all(made[1], TEXTS[1::2]), wanted[1::2]).mean()
    after = cosines(embed_all(TableEmbedder(report.folder), TEXTS[1::2]), wanted[1::2]).mean()
    assert 1 - after < 0.7 * (1 - before)


def test_many_texts_of_wide_vectors_are_sampled(teacher, tmp_path, monkeypatch):
    """The fit has the teacher's vectors in memory."""
    monkeypatch.setattr(making, "MOST_ELEMENTS", 12 * 150)
    report = make_table(TEXTS, teacher, tmp_path / "cache", tmp_path / "table", vectors=embed_all(teacher, TEXTS))
    assert report.fitted_on == 150 < len(TEXTS)


def test_a_fit_that_held_out_texts_do_not_gain_by_is_left(teacher, tmp_path):
    """Vectors without a connection to their texts: fitted, the table would say of new texts what it knows by heart."""
    noise = np.random.default_rng(0).normal(size=(len(TEXTS), 12)).astype(np.float32)
    bare = make_table(TEXTS, teacher, tmp_path / "cache", tmp_path / "bare")
    report = make_table(TEXTS, teacher, tmp_path / "cache", tmp_path / "table", vectors=noise)
    assert report.fitted_on == 0
    assert TableEmbedder(report.folder).identity() == TableEmbedder(bare.folder).identity()


def test_what_half_of_the_calls_would_cost_is_measured_without_further_ones(tmp_path):
    """Texts whose names are many: a table without them spells them, and is surely worse."""
    teacher = WordTeacher("teacher", dim=12)
    names = [first + last for first in ("bra", "kel", "mor", "tis", "vun", "zop", "dra", "fin") for last in
             ("den", "gat", "hul", "jip", "lom", "nur", "pex", "quo", "rys", "wib")]  # fmt: skip
    texts = [f"{text} {name}" for row, text in enumerate(TEXTS * 3) for name in (names[row % 80],)]
    vectors = embed_all(teacher, texts)
    teacher.asked.clear()
    report = make_table(texts, teacher, tmp_path / "cache", tmp_path / "table", vectors=vectors)
    whole, half, quarter = report.curve
    assert whole.asked == report.asked == report.calls == len(teacher.asked)
    assert (half.asked, quarter.asked) == (round(whole.asked / 2), round(whole.asked / 4))
    assert report.judged_on == len(texts) // 20 and whole.change is None
    assert half.change.high < 0 and quarter.change.high < 0  # letters are left, and hardly a word
    assert quarter.change.value == pytest.approx(quarter.cosine - whole.cosine, abs=1e-6)
    # the table that half of the calls really gives is what the curve says of it
    less = WordTeacher("less", dim=12)
    again = make_table(texts, less, tmp_path / "less", tmp_path / "half", vectors=vectors, budget=half.asked)
    assert len(less.asked) == half.asked and again.curve[0].cosine == pytest.approx(half.cosine, abs=1e-6)


def test_a_few_texts_and_tables_without_calls_have_no_such_measurement(teacher, tmp_path, made):
    assert made[0].curve == ()  # no vectors to judge by
    few = make_table(TEXTS[:100], teacher, tmp_path / "c", tmp_path / "few", vectors=embed_all(teacher, TEXTS[:100]))
    assert (few.curve, few.judged_on) == ((), 0)


def test_how_a_table_was_made_is_kept_beside_it(teacher, tmp_path):
    vectors = embed_all(teacher, TEXTS * 3)
    report = make_table(TEXTS * 3, teacher, tmp_path / "cache", tmp_path / "table", vectors=vectors)
    assert len(report.curve) == 3
    report.save()
    assert TableReport.read(tmp_path / "table") == report
    assert TableReport.read(tmp_path / "elsewhere" / "table") is None
    (tmp_path / "table.json").write_text("{", encoding="utf-8")
    assert TableReport.read(tmp_path / "table") is None


def test_the_budget_is_kept_and_the_frequent_come_first(teacher, tmp_path):
    whole = make_table(TEXTS, teacher, tmp_path / "whole", tmp_path / "table")
    assert whole.calls == whole.wanted == len(set(teacher.asked))
    few = WordTeacher("few", dim=12)
    budget = whole.wanted - 30
    report = make_table(TEXTS, few, tmp_path / "few", tmp_path / "less", budget=budget)
    assert report.calls == budget == len(few.asked) and report.wanted == whole.wanted
    table = TableEmbedder(report.folder)
    asked = set(few.asked)
    # words by how often they stand in the texts, parts that none of them is spelled with last
    assert {"the", "please", "arrived"} <= asked and not {"parcel", "yo"} & asked
    # what was not asked for is spelled by what was
    lost = next(word for word in "cancelled normal booking invoice password account".split() if word not in asked)
    pieces = table.table.tokenizer.encode(lost).tokens
    assert len(pieces) > 1 and "".join(piece.removeprefix("##") for piece in pieces) == lost
    embed_all(table, [lost])


def test_a_second_time_nothing_is_asked_and_the_same_is_made(teacher, tmp_path):
    first = make_table(TEXTS, teacher, tmp_path / "cache", tmp_path / "a")
    again = WordTeacher("teacher", dim=12)
    second = make_table(TEXTS, again, tmp_path / "cache", tmp_path / "b")
    assert (first.calls > 100, second.calls, again.asked) == (True, 0, [])
    assert TableEmbedder(first.folder).identity() == TableEmbedder(second.folder).identity()


def test_entries_that_the_teacher_cannot_embed_are_spelled(tmp_path):
    class Picky(WordTeacher):
        def embed(self, texts, role="document"):
            for batch in super().embed(texts, role):
                bad = {place for place in batch.indices.tolist() if texts[place] == "parcel"}
                kept = [row for row, place in enumerate(batch.indices.tolist()) if place not in bad]
                failures = {**batch.failures, **dict.fromkeys(bad, "NaN")}
                yield type(batch)(batch.indices[kept], batch.vectors[kept], failures)

    report = make_table(TEXTS, Picky("picky", dim=12), tmp_path / "cache", tmp_path / "table")
    assert TableEmbedder(report.folder).table.tokenizer.encode("parcel").tokens[0] != "parcel"


def test_tables_side_by_side(teacher, tmp_path):
    other = save_table(tmp_path / "other", rows=rows_for(word_pieces(), dim=5))
    report = make_table(TEXTS, teacher, tmp_path / "cache", tmp_path / "both", tables=["teacher", str(other)])
    assert report.width == 17
    rows, vocabulary = TableEmbedder(report.folder).table.rows, TableEmbedder(report.folder).table.tokenizer
    # an entry's row in the other's columns is what the other makes of its text, centred and weighted
    theirs = TableEmbedder(other, normalize=False)
    names = ["parcel", "order", "late"]
    found = rows[[vocabulary.token_to_id(name) for name in names]][:, 12:]
    mean = embed_all(theirs, [name.removeprefix("##") for name in sorted(vocabulary.get_vocab(), key=vocabulary.token_to_id)[1:]]).mean(0)  # fmt: skip # noqa: E501
    assert (cosines(found, embed_all(theirs, names) - mean) > 0.99).all()
    alone = make_table(TEXTS, teacher, tmp_path / "cache2", tmp_path / "alone", tables=[str(other)])
    assert (alone.calls, alone.width) == (0, 5)
    assert not (tmp_path / "cache2").exists()  # no teacher, no call, no cache


def test_sentence_transformers_and_model2vec_load_the_folder(made):
    report, table = made
    texts = [*TEXTS[:20], "unseen zebra", "ok \U0001f600", *UNHEARD_OF]
    expected = embed_all(table, texts)
    sentence_transformers = pytest.importorskip("sentence_transformers")
    model = sentence_transformers.SentenceTransformer(str(report.folder), device="cpu")
    np.testing.assert_allclose(model.encode(texts), expected, atol=1e-4)
    config = json.loads((report.folder / "config.json").read_text())
    assert config["model_type"] == "model2vec" and config["normalize"] is True
    model2vec = pytest.importorskip("model2vec")
    np.testing.assert_allclose(model2vec.StaticModel.from_pretrained(report.folder).encode(texts), expected, atol=1e-4)


UNHEARD_OF = [
    "Привет, как дела?", "안녕하세요", "สวัสดีครับ", "مرحبا بالعالم", "हिन्दी", "ქართული", "我的包裹在哪里",
    "\U0001f469\u200d\U0001f4bb", "\U0001f600", "x" * 500, "中" * 3000, "\u2603", "𝔘𝔫𝔦𝔠𝔬𝔡𝔢",
]  # fmt: skip


@pytest.mark.parametrize("budget", [30_000, 3])
def test_every_text_has_a_vector_of_its_own(teacher, tmp_path, budget):
    """Whatever its script: entries, then pieces, then bytes."""
    table = TableEmbedder(make_table(TEXTS, teacher, tmp_path / "cache", tmp_path / "table", budget=budget).folder)
    vectors = embed_all(table, UNHEARD_OF)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert np.triu(vectors @ vectors.T, 1).max() < 0.999


def test_what_is_spelled_by_bytes_does_not_drown_the_words_beside_it(made):
    plain, marked = "the parcel arrived late", "the parcel \U0001f600 arrived late Привет"
    assert cosines(*(embed_all(made[1], [text]) for text in (plain, marked)))[0] > 0.95


def test_bytes_are_not_counted_as_known(teacher, tmp_path):
    """With a budget of nothing but punctuation, few of the texts' tokens are entries."""
    report = make_table(TEXTS, teacher, tmp_path / "cache", tmp_path / "table", budget=2)
    assert 0 < report.known < 0.2


def test_words_of_texts_without_spaces(tmp_path):
    """Each is one entry, asked for alone, and has one row, wherever it stands in a run of letters."""
    subjects = ("我的包裹", "那个订单", "新密码", "包裹", "订单", "密码")
    rest = ("没有到", "在哪里", "可以退款吗", "错了", "怎么取消", "什么时候寄出", "为什么打不开")
    texts = [subject + what for subject in subjects for what in rest] * 3
    teacher = WordTeacher("teacher", dim=12)
    report = make_table(texts, teacher, tmp_path / "cache", tmp_path / "table")
    assert report.known == 1 and {"包裹", "订单", "密码"} <= set(teacher.asked)
    table = TableEmbedder(report.folder)
    assert len(table.table.tokens(["新密码包裹"])[0]) == 2
    fitted = make_table(texts, teacher, tmp_path / "cache", tmp_path / "fit", vectors=embed_all(teacher, texts))
    for made in (table.table, TableEmbedder(fitted.folder).table):
        first, second = (made.rows[made.tokens([text])[0]] for text in ("包裹", "密码包裹"))
        np.testing.assert_array_equal(first[0], second[-1])


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"budget": 0}, "budget=0: expected a whole number of at least 1"),
        ({"tables": []}, r"tables=\[\]: expected some of teacher"),
        ({"tables": ["teacher", "teacher"]}, "each once"),
        ({"tables": ["nonesuch"]}, "tables=nonesuch: expected one of teacher, input_embeddings, wordllama"),
        ({"tables": ["input_embeddings"]}, "the files of a teacher behind Word.* give the model.s GGUF file"),
        ({"vectors": np.ones((3, 12), np.float32)}, "expected texts and vectors to have the shapes"),
    ],
)
def test_what_cannot_be_made_is_said_in_one_line(teacher, tmp_path, settings, said):
    with pytest.raises(AlignkitError, match=said) as error:
        make_table(TEXTS, teacher, tmp_path / "cache", tmp_path / "table", **settings)
    assert "\n" not in str(error.value) and not (tmp_path / "table").exists()


def test_a_teacher_that_embeds_no_entry(tmp_path):
    broken = SmallEmbedder("broken", fault=EmbedderError("no server"))
    with pytest.raises(EmbedderError, match="no server"):
        make_table(TEXTS, broken, tmp_path / "cache", tmp_path / "table")
    with pytest.raises(AlignkitError, match="there are none"):
        make_table([], broken, tmp_path / "cache", tmp_path / "table")


def test_a_transformer_is_asked_for_the_pieces_that_no_text_stands_for(tmp_path):
    """`##ing` is one token between the special ones; the text `ing` is another. Each counts as a call."""
    from alignkit.embedders.two_layer import TwoLayerEmbedder
    from alignkit.tables.piece_ids import by_ids

    teacher = TwoLayerEmbedder()
    named = by_ids(teacher, "document")
    (batch,) = named.embed(["##ing", "order", "no such piece"])
    model, order = teacher.modules()[0], embed_all(teacher, ["order"])[0]
    assert batch.indices.tolist() == [0, 1] and list(batch.failures) == [2]
    np.testing.assert_allclose(batch.vectors[1], order, atol=1e-5)
    ids = [model.tokenizer.convert_tokens_to_ids(piece) for piece in ("[CLS]", "##ing", "[SEP]")]
    hidden = model.auto_model(input_ids=model.tokenizer.pad({"input_ids": [ids]}, return_tensors="pt")["input_ids"])
    expected = hidden.last_hidden_state[0].mean(0).detach().numpy()
    np.testing.assert_allclose(batch.vectors[0], expected / np.linalg.norm(expected), atol=1e-5)
    assert named.identity() != teacher.identity()
    assert by_ids(WordTeacher(), "document") is None


def test_a_cache_keeps_pieces_and_texts_of_a_teacher_apart(tmp_path):
    """Whoever reads the cache later, the teacher being off, wants its vectors of texts."""
    from alignkit.cache import VectorCache
    from alignkit.embedders.two_layer import TwoLayerEmbedder
    from alignkit.tables.piece_ids import by_ids

    teacher = TwoLayerEmbedder()
    with VectorCache(tmp_path) as cache:
        cache.fill(teacher, ["order"])
        cache.fill(by_ids(teacher, "document"), ["##ing"])
    with VectorCache(tmp_path) as cache:
        remembered = cache.remembered(teacher.settings())
        assert remembered == teacher.identity()
        assert len(cache.missing(remembered, ["order", "##ing"])) == 1


def test_a_real_teacher_lends_its_vocabulary_and_its_input_embeddings(tmp_path):
    """WordPiece of the teacher with the texts' own words; with its input embeddings alone it is not called at all."""
    from alignkit.embedders.two_layer import TwoLayerEmbedder

    teacher = TwoLayerEmbedder()
    texts = [*TEXTS, "unobtainium widgets", "more unobtainium"]
    report = make_table(texts, teacher, tmp_path / "cache", tmp_path / "table", tables=["input_embeddings"])
    assert (report.calls, report.width) == (0, 384)
    table = TableEmbedder(report.folder).table
    assert table.tokenizer.encode("unobtainium aardvark").tokens == ["unobtainium", *"aa ##rd ##var ##k".split()]
    assert not (tmp_path / "cache").exists()

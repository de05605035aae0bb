"""A token table from any folder: the vectors, the speed's short cut, the formats, and what is wrong with a folder."""

import json
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("tokenizers")
from small_table import PIECES, rows_for, save_table, word_pieces
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from alignkit.embedders import word_tokens
from alignkit.embedders.base import embed_all
from alignkit.embedders.table import TableEmbedder
from alignkit.errors import AlignkitError, ConfigError

TEXTS = ["Reset my password, please!", "Where is the parcel?", "the  order\tarrived late", "one-another"]
ODD_TEXTS = [
    *TEXTS,
    " leading and trailing ",
    "two  spaces   three",
    "tab\tand\nnew line\r\n",
    "a [CLS] b <s> c </s><unk> <|endoftext|>",
    "\u2581sign of a space",
    "\u4f60\u597d \u4e16\u754c",
    "\U0001f600 \U0001f469\u200d\U0001f4bb x",
    "nul \0 inside",
    "e\u0301 combined \u00a0 no-break a\u00a0 \u00a0b",
    "it's 12 34,5 o' 'clock a , b",
    "x" * 3000,
    "word " * 500,
    "\u00a0", "\u3000 wide \u3000",
]  # fmt: skip


def mean_of_rows(tokenizer, rows, text, without=()):
    ids = [token for token in tokenizer.encode(text, add_special_tokens=False).ids if token not in without]
    mean = rows[ids].astype(np.float64).mean(axis=0)
    return mean / np.linalg.norm(mean)


@pytest.mark.parametrize(
    "form",
    [
        {},
        {"inside": "0_StaticEmbedding"},
        {"modules": False},
        {"inside": "0_StaticEmbedding", "modules": False},
        {"dtype": "float16"},
    ],
)
def test_what_sentence_transformers_saves(tmp_path, form):
    tokenizer = word_pieces()
    rows = rows_for(tokenizer)
    embedder = TableEmbedder(save_table(tmp_path / "table", rows=rows, **form))
    expected = [mean_of_rows(tokenizer, rows, text) for text in TEXTS]
    np.testing.assert_allclose(embed_all(embedder, TEXTS), expected, atol=1e-3 if "dtype" in form else 1e-6)
    assert embedder.dim == 16


def test_model2vec_with_weights_and_a_mapping(tmp_path):
    """Its own loader leaves the unknown token out, so the same text has the same vector here."""
    tokenizer, rng = word_pieces(), np.random.default_rng(1)
    few, mapping = rows_for(tokenizer)[:20], rng.integers(0, 20, len(PIECES))
    weights = rng.uniform(0.1, 2, len(PIECES)).astype(np.float32)
    save_table(tmp_path, rows=few, name="embeddings", weights=weights, mapping=mapping)
    rows = few[mapping] * weights[:, None]
    texts = [*TEXTS, "the \u20ac order \u4f60"]
    expected = [mean_of_rows(tokenizer, rows, text, without={PIECES.index("[UNK]")}) for text in texts]
    found = embed_all(TableEmbedder(tmp_path), texts)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    model2vec = pytest.importorskip("model2vec")
    np.testing.assert_allclose(model2vec.StaticModel.from_pretrained(tmp_path).encode(texts), found, atol=1e-6)


def test_bfloat16(tmp_path):
    """The upper half of each float32; NumPy cannot read it, and torch is not needed."""
    rows = rows_for(word_pieces())
    halves = rows.view(np.uint32) >> 16
    folder = save_table(tmp_path, rows=rows)
    name = b'{"embedding.weight":{"dtype":"BF16","shape":[%d,16],"data_offsets":[0,%d]}}' % (len(rows), rows.size * 2)
    content = len(name).to_bytes(8, "little") + name + halves.astype("<u2").tobytes()
    (folder / "model.safetensors").write_bytes(content)
    kept = (halves << 16).astype(np.uint32).view(np.float32)
    np.testing.assert_array_equal(TableEmbedder(folder).table.rows, kept)


def byte_level():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(vocab_size=500, initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(ODD_TEXTS * 3, trainer)
    tokenizer.add_special_tokens(["<|endoftext|>"])
    return tokenizer


def unigram():
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Strip()])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(vocab_size=300, unk_token="<unk>", special_tokens=["<unk>"])
    tokenizer.train_from_iterator(ODD_TEXTS * 3, trainer)
    return tokenizer


def spanning():
    """Tokens that span spaces: no text can be treated word by word."""
    tokenizer = Tokenizer(models.BPE())
    trainer = trainers.BpeTrainer(vocab_size=400, show_progress=False)
    tokenizer.train_from_iterator(["of the order"] * 50 + ODD_TEXTS, trainer)
    return tokenizer


def first_is_special():
    """A space sign before the first word alone."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never")
    tokenizer.train_from_iterator(ODD_TEXTS * 3, trainers.BpeTrainer(vocab_size=400))
    return tokenizer


@pytest.mark.parametrize("made", [word_pieces, byte_level, unigram, spanning, first_is_special])
def test_words_give_the_tokenizers_own_tokens(made):
    tokenizer = made()
    tokenizer.no_truncation()
    tokens_of = word_tokens.WordTokens(tokenizer)
    # nearly all of these are in words that the cache has; only where tokens span words it cannot have them
    assert (tokens_of._split is None) == (made is spanning)
    for _ in range(2):
        tokens, counts = tokens_of(ODD_TEXTS)
        expected = [encoding.ids for encoding in tokenizer.encode_batch(ODD_TEXTS, add_special_tokens=False)]
        assert counts.tolist() == [len(ids) for ids in expected]
        assert tokens.tolist() == [token for ids in expected for token in ids]


def test_alone_and_in_any_batch_the_vector_is_the_same_to_the_last_bit(tmp_path):
    embedder = TableEmbedder(save_table(tmp_path))
    together = embed_all(embedder, TEXTS)
    assert np.array_equal(np.concatenate([embed_all(embedder, [text]) for text in TEXTS]), together)


def test_a_text_of_nothing_that_the_table_knows_is_a_failure(tmp_path):
    tokenizer = word_pieces()
    rows = rows_for(tokenizer)
    rows[PIECES.index("[UNK]")] = 0
    embedder = TableEmbedder(save_table(tmp_path, rows=rows), batch_size=2)
    batches = list(embedder.embed(["the order", "\u4f60\u597d", "", "card \u4f60"]))
    assert sorted(np.concatenate([batch.indices for batch in batches]).tolist()) == [0, 3]
    failures = {place: reason for batch in batches for place, reason in batch.failures.items()}
    assert failures == {1: "no token of the text is in the table", 2: "the text is empty or blank"}


def test_the_identity_is_the_files_wherever_they_are(tmp_path):
    first = TableEmbedder(save_table(tmp_path / "a"))
    moved = TableEmbedder(save_table(tmp_path / "elsewhere", inside="0_StaticEmbedding"))
    other = TableEmbedder(save_table(tmp_path / "b", rows=rows_for(word_pieces(), seed=1)))
    assert first.identity() == moved.identity()
    assert first.identity()["digest"] != other.identity()["digest"]
    assert first.identity()["model"] != other.identity()["model"]
    prompted = TableEmbedder(tmp_path / "a", query_prompt="query: ")
    assert prompted.identity("query") != prompted.identity() == first.identity()
    np.testing.assert_array_equal(embed_all(prompted, ["late"], "query"), embed_all(first, ["query: late"]))


def test_another_tokenizer_is_another_identity(tmp_path):
    first = TableEmbedder(save_table(tmp_path / "a")).identity()["digest"]
    tokenizer = word_pieces()
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False)
    assert TableEmbedder(save_table(tmp_path / "b", tokenizer)).identity()["digest"] != first


def test_the_sentence_transformers_modules_give_the_same_vectors(tmp_path):
    sentence_transformers = pytest.importorskip("sentence_transformers")
    weights = np.linspace(0.1, 2, len(PIECES), dtype=np.float32)
    embedder = TableEmbedder(save_table(tmp_path, name="embeddings", weights=weights))
    model = sentence_transformers.SentenceTransformer(modules=embedder.modules(), device="cpu")
    texts = [*TEXTS, "the \u20ac order"]
    np.testing.assert_allclose(model.encode(texts), embed_all(embedder, texts), atol=1e-6)


def test_it_needs_no_torch(tmp_path):
    save_table(tmp_path)
    code = (
        "import sys; from alignkit.embedders.base import embed_all; from alignkit.embedders.table import TableEmbedder;"
        f"embed_all(TableEmbedder({str(tmp_path)!r}), ['the order']); print('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"


def halve(path):
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def put(folder, name, content):
    (folder / name).write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")


def module(kind):
    return {"path": "", "type": f"sentence_transformers.models.{kind}"}


def without_modules(folder):
    (folder / "modules.json").unlink()
    put(folder, "config.json", {"architectures": ["BertModel"], "num_hidden_layers": 2})


ROWS = rows_for(word_pieces())
# what is done to a folder, and what is said of it
WRONG = {
    "no folder": (shutil.rmtree, "no such folder; expected a folder with model.safetensors and tokenizer.json"),
    "a file": (lambda at: (shutil.rmtree(at), at.write_text("x")), "is a file; expected a folder"),
    "empty": (lambda at: (shutil.rmtree(at), at.mkdir()), "has no model.safetensors and no tokenizer.json; expected"),
    "no tokenizer": (lambda at: (at / "tokenizer.json").unlink(), "has no tokenizer.json; expected"),
    "cut weights": (lambda at: halve(at / "model.safetensors"), "model.safetensors: not a readable safetensors file"),
    "empty weights": (lambda at: put(at, "model.safetensors", ""), "model.safetensors: not a readable safetensors"),
    "cut tokenizer": (lambda at: halve(at / "tokenizer.json"), "tokenizer.json: not a readable tokenizer"),
    "another tokenizer": (
        lambda at: save_table(at, rows=ROWS[:-5]),
        f"has {len(ROWS) - 5} rows, but tokenizer.json beside it has token ids up to {len(ROWS) - 1}",
    ),
    "NaN": (lambda at: save_table(at, rows=np.where(ROWS == ROWS[3, 3], np.nan, ROWS)), "NaN or Inf"),
    "a flat array": (lambda at: save_table(at, rows=ROWS[:, 0]), "expected one row a token"),
    "pickle": (
        lambda at: (at / "model.safetensors").rename(at / "pytorch_model.bin"),
        "pytorch_model.bin, which is pickled code and never loaded here; save it as safetensors",
    ),
    "modules": (lambda at: put(at, "modules.json", "[{"), "modules.json: not readable"),
    "odd modules": (lambda at: put(at, "modules.json", {"a": 1}), "modules.json: expected a list of modules"),
    "a transformer": (without_modules, "a transformer, not a token table; use it with student=sentence_transformer"),
    "a transformer's tensors": (
        lambda at: save_table(at, name="embeddings.word_embeddings.weight", other=np.ones(3, np.float32)),
        "no token table but 2 tensors",
    ),
    "a model": (
        lambda at: put(at, "modules.json", [module("Transformer")]),
        "its first module is Transformer; use it with student=sentence_transformer",
    ),
    "a dense layer": (
        lambda at: put(at, "modules.json", [module("StaticEmbedding"), module("Dense")]),
        "a token table followed by Dense; use it with student=sentence_transformer",
    ),
    "a mapping": (
        lambda at: save_table(at, name="embeddings", mapping=np.full(len(PIECES), 10_000)),
        "its mapping names rows that are not among",
    ),
    "weights": (lambda at: save_table(at, name="embeddings", weights=np.ones(3, np.float32)), "(3,) weights for"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_with_a_folder_is_said_in_one_line(tmp_path, what):
    folder = save_table(tmp_path / "table")
    damage, said = WRONG[what]
    damage(folder)
    with pytest.raises(AlignkitError, match=re.escape(said)) as error:
        embed_all(TableEmbedder(folder), TEXTS)
    assert "\n" not in str(error.value)
    assert str(folder) in str(error.value)


def test_a_folder_that_changes_while_it_is_in_use(tmp_path):
    embedder = TableEmbedder(save_table(tmp_path))
    embedder.identity()
    save_table(tmp_path, rows=rows_for(word_pieces(), seed=1))
    with pytest.raises(AlignkitError, match="was changed while it was in use"):
        embed_all(embedder, TEXTS)


def test_without_a_folder():
    with pytest.raises(ConfigError, match=r"path is not set; expected a folder .*alignkit\.distill student=table"):
        TableEmbedder(None)

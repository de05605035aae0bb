"""Small students of both kinds, and texts whose teacher knows more of their words than they do."""

import numpy as np
import pytest

from alignkit.embedders.sentence_transformer import SentenceTransformerEmbedder
from alignkit.pairs.base import Pairs, PairSplits

WORDS = [f"{a}{b}" for a in ("ba", "de", "ki", "lo", "mu", "na") for b in ("ra", "sel", "tin", "wo", "xu")]
TEACHER_DIM = 12


@pytest.fixture(scope="session")
def students(tmp_path_factory):
    """Folder of a student by its kind, as sentence-transformers stores it."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, StaticEmbedding, Transformer
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import BertConfig, BertModel, BertTokenizerFast

    folder = tmp_path_factory.mktemp("students")
    rng = np.random.default_rng(1)
    words = Tokenizer(models.WordLevel({word: i for i, word in enumerate(["[UNK]", *WORDS])}, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    rows = rng.normal(size=(1 + len(WORDS), 8)).astype(np.float32)
    table = SentenceTransformer(modules=[StaticEmbedding(words, embedding_weights=rows), Normalize()], device="cpu")
    table.save(str(folder / "table"), create_model_card=False)
    bare = folder / "bare"
    bare.mkdir()
    (bare / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]), encoding="utf-8")
    BertTokenizerFast(str(bare / "vocab.txt"), model_max_length=16).save_pretrained(bare)
    shape = BertConfig(vocab_size=5 + len(WORDS), hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
                       intermediate_size=32, max_position_embeddings=16, initializer_range=0.2)  # fmt: skip
    BertModel(shape).save_pretrained(bare)
    model = SentenceTransformer(modules=[Transformer(str(bare)), Pooling(16), Normalize()], device="cpu")
    model.save(str(folder / "transformer"), create_model_card=False)
    return {"table": folder / "table", "transformer": folder / "transformer"}


@pytest.fixture(params=["table", "transformer"])
def embedder(request, students):
    return SentenceTransformerEmbedder(str(students[request.param]), device="cpu")


@pytest.fixture
def table(students):
    return SentenceTransformerEmbedder(str(students["table"]), device="cpu")


@pytest.fixture(scope="session")
def make_splits():
    """Splits with the student's vectors; every text is one of the teacher's own making."""

    def make(embedder, count=480, seed=0):
        rng = np.random.default_rng(seed)
        known = rng.normal(size=(len(WORDS), TEACHER_DIM))
        drawn = [rng.choice(len(WORDS), size=rng.integers(2, 7), replace=False) for _ in range(count)]
        texts = [" ".join(WORDS[word] for word in some) for some in drawn]
        teacher = np.stack([np.tanh(known[some].sum(axis=0)) for some in drawn]).astype(np.float32)
        teacher /= np.linalg.norm(teacher, axis=1, keepdims=True)
        student = np.empty((count, embedder.dim), dtype=np.float32)
        for batch in embedder.embed(texts):
            student[batch.indices] = batch.vectors
        ends = (0, count - 80, count - 40, count)

        def part(start, end):
            ids = [str(row) for row in range(start, end)]
            return Pairs(ids, student[start:end], teacher[start:end], texts=texts[start:end])

        return PairSplits(*(part(start, end) for start, end in zip(ends[:-1], ends[1:], strict=True)))

    return make

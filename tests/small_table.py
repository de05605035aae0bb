"""Folders of small token tables, in the formats that the world has."""

import json

import numpy as np

PIECES = (
    ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    + list("abcdefghijklmnopqrstuvwxyz.,?'-")
    + [f"##{letter}" for letter in "abcdefghijklmnopqrstuvwxyz"]
    + "reset my pass ##word please one another sentence third the parcel arrived late where is order card".split()
)


def word_pieces():
    """A tokenizer as BERT's, with some whole words and every letter."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordPiece
    from tokenizers.normalizers import BertNormalizer
    from tokenizers.pre_tokenizers import BertPreTokenizer

    tokenizer = Tokenizer(WordPiece({piece: place for place, piece in enumerate(PIECES)}, unk_token="[UNK]"))
    tokenizer.normalizer = BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = BertPreTokenizer()
    tokenizer.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]"])
    return tokenizer


def rows_for(tokenizer, dim=16, seed=0):
    return np.random.default_rng(seed).normal(size=(tokenizer.get_vocab_size(), dim)).astype(np.float32)


def save_table(
    folder, tokenizer=None, rows=None, inside="", name="embedding.weight", dtype="float32", modules=True, **more
):
    """What sentence-transformers saves; with `name="embeddings"` and its `weights` and `mapping`, model2vec."""
    from safetensors.numpy import save_file

    tokenizer = tokenizer or word_pieces()
    rows = rows_for(tokenizer) if rows is None else rows
    place = folder / inside
    place.mkdir(parents=True, exist_ok=True)
    save_file({name: rows.astype(dtype), **more}, place / "model.safetensors")
    tokenizer.save(str(place / "tokenizer.json"))
    if modules:
        kind = "sentence_transformers.models.StaticEmbedding"
        (folder / "modules.json").write_text(json.dumps([{"idx": 0, "name": "0", "path": inside, "type": kind}]))
    if name == "embeddings":
        config = {"model_type": "model2vec", "architectures": ["StaticModel"], "normalize": True}
        (folder / "config.json").write_text(json.dumps(config))
    return folder

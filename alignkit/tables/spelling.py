"""How a table separates words and spells them: entries, then pieces, then bytes, so that every text has tokens."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from alignkit.embedders.base import Embedder
from alignkit.embedders.model_folders import model_folder
from alignkit.embedders.sentence_transformer import SentenceTransformerEmbedder
from alignkit.embedders.table_files import TOKENIZER, read_tokenizer
from alignkit.errors import EmbedderError
from alignkit.extras import needing

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from tokenizers.pre_tokenizers import PreTokenizer

UNKNOWN, INSIDE = "[UNK]", "##"
# longer ones are cut: the search for the longest match takes the square of the length
LONGEST_WORD, LONGEST_RUN = 40, 16
# scripts that put no spaces between words: Thai, Lao, Burmese, Khmer, Japanese, Chinese
_RANGES = (
    (0x0E01, 0x0EFF), (0x1000, 0x109F), (0x1780, 0x17FF), (0x3005, 0x3007), (0x3041, 0x30FF), (0x31F0, 0x31FF),
    (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x3FFFF),
)  # fmt: skip
UNSPACED = "[" + "".join(f"{chr(first)}-{chr(last)}" for first, last in _RANGES) + "]"
_UNSPACED = re.compile(UNSPACED)


def is_inside(piece: str) -> bool:
    """Whether it continues a word.

    >>> is_inside("##ing"), is_inside("##"), is_inside("parcel")
    (True, False, False)
    """
    return piece.startswith(INSIDE) and piece != INSIDE


def is_unspaced(word: str) -> bool:
    """Whether it is in a script that puts no spaces between words.

    >>> is_unspaced("包裹"), is_unspaced("parcel")
    (True, False)
    """
    return _UNSPACED.match(word) is not None


def within(words: Iterable[str]) -> list[str]:
    """The names of those words, in scripts without spaces, that also stand behind others in one run of letters.

    >>> within(["包裹", "parcel"])
    ['##包裹']
    """
    return [INSIDE + word for word in words if is_unspaced(word)]


def build_tokenizer(pieces: Iterable[str], pattern: Tokenizer) -> Tokenizer:
    """A WordPiece tokenizer of these entries, each id one more than its place, and of the bytes behind them.

    Words are written as bytes, as GPT-2 does, so that what no entry spells is spelled by single bytes. Id 0, the
    unknown token, is a formality.
    """
    from tokenizers import Tokenizer
    from tokenizers.models import WordPiece
    from tokenizers.pre_tokenizers import ByteLevel, Sequence

    letters = sorted(ByteLevel.alphabet())
    spelled = [UNKNOWN, *map(_in_bytes, pieces), *letters, *(INSIDE + letter for letter in letters)]
    ids = {piece: number for number, piece in enumerate(dict.fromkeys(spelled))}
    tokenizer = Tokenizer(WordPiece(ids, unk_token=UNKNOWN, max_input_chars_per_word=4 * LONGEST_WORD))
    tokenizer.normalizer = pattern.normalizer
    tokenizer.pre_tokenizer = Sequence([pattern.pre_tokenizer, ByteLevel(add_prefix_space=False, use_regex=False)])
    return tokenizer


def find_pattern(teacher: Embedder) -> tuple[Tokenizer, bool]:
    """A tokenizer whose normalizer and pre-tokenizer a table takes over, and whether its vocabulary is the teacher's.

    The teacher's own is taken if it is a WordPiece one in a local folder: the vocabulary of others has no whole words.
    """
    found, is_own = _teachers(teacher), True
    if found is None:
        found, is_own = _plain(), False
    if type(found.normalizer).__name__ == "BertNormalizer":
        found.normalizer.handle_chinese_chars = False  # it puts spaces around each letter
    found.pre_tokenizer = _pieces_apart(found.pre_tokenizer)
    return found, is_own


def _teachers(teacher: Embedder) -> Tokenizer | None:
    if not isinstance(teacher, SentenceTransformerEmbedder):
        return None
    try:
        folder = model_folder(teacher.model)
        file = None if folder is None else folder / TOKENIZER
        found = read_tokenizer(file) if file is not None and file.is_file() else None
    except EmbedderError:
        return None
    return found if found is not None and json.loads(found.to_str())["model"].get("type") == "WordPiece" else None


def _plain() -> Tokenizer:
    """BERT's way to write and separate words; accents stay, since in some languages they make another word."""
    with needing("local"):
        from tokenizers import Tokenizer
    from tokenizers.models import WordPiece
    from tokenizers.normalizers import BertNormalizer
    from tokenizers.pre_tokenizers import BertPreTokenizer

    tokenizer = Tokenizer(WordPiece(unk_token=UNKNOWN))
    tokenizer.normalizer = BertNormalizer(lowercase=True, strip_accents=False)
    tokenizer.pre_tokenizer = BertPreTokenizer()
    return tokenizer


def _pieces_apart(pre_tokenizer: PreTokenizer) -> PreTokenizer:
    """Symbols and scripts without spaces as words of their own, and long words in parts.

    A word with an emoji behind it would be no entry, and a word of a hundred letters would be unknown as a whole.
    """
    from tokenizers import Regex
    from tokenizers.pre_tokenizers import Sequence, Split

    parts = (r"\p{S}", f"{UNSPACED}{{1,{LONGEST_RUN}}}", f".{{1,{LONGEST_WORD}}}")
    return Sequence([pre_tokenizer, *(Split(Regex(part), "isolated") for part in parts)])


def _in_bytes(piece: str) -> str:
    from tokenizers.pre_tokenizers import ByteLevel

    if piece.isascii():
        return piece
    return "".join(part for part, _ in ByteLevel(add_prefix_space=False, use_regex=False).pre_tokenize_str(piece))

"""The entries of a table: word pieces, and the frequent whole words of the texts, which the longest match prefers."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

from alignkit.embedders.base import Embedder
from alignkit.embedders.model_folders import model_folder
from alignkit.embedders.sentence_transformer import SentenceTransformerEmbedder
from alignkit.embedders.table_files import TOKENIZER, read_tokenizer
from alignkit.errors import EmbedderError, MissingExtraError

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from tokenizers.pre_tokenizers import PreTokenizer

UNKNOWN, INSIDE = "[UNK]", "##"
# a word that stands once says nothing of the next text
LEAST_COUNT = 2
LONGEST_WORD = 40
# parts of words, where the teacher has no vocabulary
MOST_PARTS, LONGEST_PART, MOST_WORDS = 5_000, 6, 50_000
# letters that the next text may have, even if no text of today has them
ALPHABET = [chr(code) for code in (*range(0x21, 0x7F), *range(0xC0, 0x180)) if not chr(code).isupper()]


@dataclass(frozen=True)
class Candidates:
    """What a table may have an entry for, the most useful first.

    Attributes:
        whole: words, and pieces that begin one.
        inside: pieces inside words, which begin with `##`.
        words: whole words that were added to the pieces.
        pattern: a tokenizer whose normalizer and pre-tokenizer the table takes over.
        own: whether they are the teacher's own.
    """

    whole: list[str]
    inside: list[str]
    words: int
    pattern: Tokenizer
    own: bool


def find_candidates(texts: Sequence[str], teacher: Embedder) -> Candidates:
    """Pieces of the teacher's own vocabulary, or common parts of words, and the texts' frequent words.

    Args:
        texts: training texts.
        teacher: its tokenizer is taken if it is a WordPiece one in a local folder.
    """
    own = teachers_pieces(teacher)
    pattern = own or _plain_pattern()
    words = _words_of(texts, pattern)
    pieces = common_parts(words) if own is None else _useful_pieces(own)
    known = set(pieces)
    added = [word for word, count in words.items() if word not in known and count >= LEAST_COUNT]
    added = [word for word in added if len(word) <= LONGEST_WORD and not word.startswith(INSIDE)]
    candidates = [*pieces, *added]
    table = build_tokenizer(candidates, pattern)
    counts = Counter[str]()
    for word, encoding in zip(words, table.encode_batch_fast(list(words), add_special_tokens=False), strict=True):
        for piece in encoding.tokens:
            counts[piece] += words[word]
    letters = set(ALPHABET).union(*words)
    # letters first, since without them a word is lost; then what is frequent; the order of the vocabulary after that
    candidates.sort(key=lambda piece: (piece not in letters, -counts[piece]))
    inside = [piece for piece in candidates if is_inside(piece)]
    whole = [piece for piece in candidates if not is_inside(piece)]
    return Candidates(whole, inside, len(added), pattern, own is not None)


def is_inside(piece: str) -> bool:
    """Whether it continues a word.

    >>> is_inside("##ing"), is_inside("##"), is_inside("parcel")
    (True, False, False)
    """
    return piece.startswith(INSIDE) and piece != INSIDE


def build_tokenizer(pieces: Iterable[str], pattern: Tokenizer) -> Tokenizer:
    """A WordPiece tokenizer of these entries; id 0 is what is in none of them."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordPiece

    ids = {piece: number for number, piece in enumerate([UNKNOWN, *pieces])}
    tokenizer = Tokenizer(WordPiece(ids, unk_token=UNKNOWN, max_input_chars_per_word=100))
    tokenizer.normalizer, tokenizer.pre_tokenizer = pattern.normalizer, pattern.pre_tokenizer
    return tokenizer


def teachers_pieces(teacher: Embedder) -> Tokenizer | None:
    """The teacher's own tokenizer if it is a WordPiece one at hand; the vocabulary of others has no whole words."""
    if not isinstance(teacher, SentenceTransformerEmbedder):
        return None
    try:
        folder = model_folder(teacher.model)
        file = None if folder is None else folder / TOKENIZER
        found = read_tokenizer(file) if file is not None and file.is_file() else None
    except EmbedderError:
        return None
    if found is None or json.loads(found.to_str())["model"].get("type") != "WordPiece":
        return None
    found.pre_tokenizer = _symbols_apart(found.pre_tokenizer)
    return found


def _plain_pattern() -> Tokenizer:
    """BERT's way to write and separate words; accents stay, since in some languages they make another word."""
    try:
        from tokenizers import Tokenizer
    except ImportError as error:
        raise MissingExtraError(str(error.name), "local") from None
    from tokenizers.models import WordPiece
    from tokenizers.normalizers import BertNormalizer
    from tokenizers.pre_tokenizers import BertPreTokenizer

    tokenizer = Tokenizer(WordPiece(unk_token=UNKNOWN))
    tokenizer.normalizer = BertNormalizer(lowercase=True, strip_accents=False)
    tokenizer.pre_tokenizer = _symbols_apart(BertPreTokenizer())
    return tokenizer


def common_parts(words: Counter[str]) -> list[str]:
    """Letters, and the parts that most words share, which spell the words that no text has yet.

    The package tokenizers could train such pieces, but each time others.

    Args:
        words: how often each stands in the texts.

    >>> common_parts(Counter(["handy", "handle", "handed"]))[-2:]
    ['##nd', 'ha']
    """
    shared = Counter[str]()
    for word, _ in words.most_common(MOST_WORDS):
        if len(word) <= LONGEST_WORD:
            # each once a word
            parts = {word[:length] for length in range(2, LONGEST_PART + 1) if length < len(word)}
            for start in range(1, len(word)):
                parts |= {
                    INSIDE + word[start:end] for end in range(start + 2, min(start + LONGEST_PART, len(word)) + 1)
                }
            shared.update(parts)
    # a longer part replaces more letters
    gain = {
        part: count * (len(part.removeprefix(INSIDE)) - 1) for part, count in shared.items() if count >= LEAST_COUNT
    }
    letters = sorted(set(ALPHABET).union(*words))
    best = sorted(gain, key=lambda part: (-gain[part], part))[:MOST_PARTS]
    return [*letters, *(INSIDE + letter for letter in letters), *best]


def _symbols_apart(pre_tokenizer: PreTokenizer) -> PreTokenizer:
    """Symbols as words of their own: else a word with an emoji behind it is unknown as a whole."""
    from tokenizers import Regex
    from tokenizers.pre_tokenizers import Sequence, Split

    return Sequence([pre_tokenizer, Split(Regex(r"\p{S}"), "isolated")])


def _useful_pieces(tokenizer: Tokenizer) -> list[str]:
    """A vocabulary without its special tokens, in its order, which in most is that of frequency."""
    vocabulary = tokenizer.get_vocab(with_added_tokens=False)
    special = {token.content for token in tokenizer.get_added_tokens_decoder().values()}
    pieces = [piece for piece in sorted(vocabulary, key=vocabulary.__getitem__) if piece not in special]
    return [piece for piece in pieces if not (piece.startswith("[unused") and piece.endswith("]"))]


def _words_of(texts: Sequence[str], pattern: Tokenizer) -> Counter[str]:
    """How often each word stands in the texts, as the pattern writes and separates words."""
    raw = Counter(chain.from_iterable(text.split() for text in texts))
    normalizer, pre_tokenizer = pattern.normalizer, pattern.pre_tokenizer
    counts = Counter[str]()
    for written, count in raw.items():
        normal = written if normalizer is None else normalizer.normalize_str(written)
        for word, _ in pre_tokenizer.pre_tokenize_str(normal):
            counts[word] += count
    return counts

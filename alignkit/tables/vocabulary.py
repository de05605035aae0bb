"""The entries of a table: word pieces, and the frequent whole words of the texts, which the longest match prefers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

from alignkit.embedders.base import Embedder
from alignkit.tables.spelling import INSIDE, LONGEST_WORD, build_tokenizer, find_pattern, is_inside, is_unspaced, within
from alignkit.tables.unspaced import words_of_runs

if TYPE_CHECKING:
    from tokenizers import Tokenizer

# a word that stands once says nothing of the next text
LEAST_COUNT = 2
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
    pattern, is_own = find_pattern(teacher)
    words = _words_of(texts, pattern)
    runs = Counter({word: count for word, count in words.items() if is_unspaced(word)})
    spaced = words - runs
    pieces = _useful_pieces(pattern) if is_own else common_parts(spaced)
    known = set(pieces)
    added = [word for word, count in spaced.items() if count >= LEAST_COUNT and len(word) <= LONGEST_WORD]
    added = [word for word in [*added, *words_of_runs(runs, LEAST_COUNT)] if word not in known]
    added = [word for word in added if not word.startswith(INSIDE)]
    whole = [piece for piece in [*pieces, *added] if not is_inside(piece)]
    inside = [piece for piece in pieces if is_inside(piece) and not is_unspaced(piece.removeprefix(INSIDE))]
    counts = _uses([*whole, *inside, *within(whole)], words, pattern)
    for name in within(whole):
        counts[name.removeprefix(INSIDE)] += counts[name]
    letters = set(ALPHABET).union(*spaced)
    # letters first, since they spell all that is missing; then what is frequent; then the order of the vocabulary
    whole.sort(key=lambda piece: (piece not in letters, -counts[piece]))
    inside.sort(key=lambda piece: -counts[piece])
    return Candidates(whole, inside, len(added), pattern, is_own)


def _uses(pieces: Sequence[str], words: Counter[str], pattern: Tokenizer) -> Counter[str]:
    """How often each piece stands in the texts where all are entries."""
    tokenizer, counts = build_tokenizer(pieces, pattern), Counter[str]()
    for word, encoding in zip(words, tokenizer.encode_batch_fast(list(words), add_special_tokens=False), strict=True):
        for number in encoding.ids:
            if 0 < number <= len(pieces):
                counts[pieces[number - 1]] += words[word]
    return counts


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

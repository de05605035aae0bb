"""The definition of "the same text": case, width, spacing and punctuation do not count; meaningful signs do."""

from __future__ import annotations

import hashlib
import re
import unicodedata

# Han, kana and the Han extensions: scripts that do not separate words by spaces.
CJK = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_SPACE_BESIDE_CJK = re.compile(rf"(?<=[{CJK}]) | (?=[{CJK}])")
_IS_CJK = re.compile(rf"[{CJK}]")

# Punctuation that always has a meaning: C#, 10%, @home, R&D, A*, snake_case.
_SIGNS = "#%@&*_\\\u00a7\u066a\u2030\u2031\u2020\u2021"
# Variants of one mark; an en dash only before a digit, where it is a minus or a range.
_DASHES = re.compile(r"[\u2010-\u2012\u2212]|\u2013(?=\d)|\u301c(?=\d)")
_APOSTROPHES = re.compile("[\u2019\u02bc`\u00b4]|(?<![\\d\u2032])\u2032")
# Powers and fractions that NFKC would merge with the number before them: 10\u00b2 is not 102.
_POWERS = re.compile(r"(?<=\d)(?=[\u00b2\u00b3\u00b9\u2070\u2074-\u2079\u207b])")
_FRACTIONS = re.compile(r"(?<=\d)(?=[\u00bc-\u00be\u2150-\u215e])")
_WORD = rf"[^\W{CJK}]"
# Marks that have a meaning only in context. Each branch starts with the mark itself, so that the search is fast.
_MEANT = re.compile(
    "|".join(
        (
            rf"-(?<!(?:{_WORD}|-)-)-?(?={_WORD})",  # -5 degrees, --verbose; not well-known, not a - b
            rf"-(?<!(?:{_WORD}|-)-)(?=[$\u00a2-\u00a5\u20a0-\u20c0.]\d)",  # -$5, -.5
            rf"-(?<={_WORD}-)(?!{_WORD}|-)",  # grade A-
            r"[-.,:/](?<=\d.)(?=\d)",  # 3.5, 1,5, 10:30, 1/2, 5-7
            r"-(?<=\d\s-)(?=\s\d)",  # 9 - 2
            rf"\.(?<!(?:{_WORD}|\.)\.)(?={_WORD})",  # .net
            rf"/(?<!{_WORD}/)(?={_WORD})",  # /etc
            r"!(?<![\w!?]!)(?=[\w=])",  # !important, !=
            r"'(?<=\w')(?=\w)",  # we're is not were
            "\u2032(?<=[\\d\u2032]\u2032)",  # feet, minutes
            r"[:;=](?<!\w.)-?[()](?!\w)",  # :) is not :(
        )
    )
)
# Unicode's noncharacters replace them while the other punctuation is removed.
_KEPT = dict(zip("-.,:;/!'\u2032()", range(0xFDD0, 0xFDF0), strict=False))
_PROTECT = {ord(mark): code for mark, code in _KEPT.items()}


class _Table(dict[int, str | int]):
    """Punctuation becomes a space and invisible characters vanish; symbols (currency, emoji) and signs stay."""

    def __missing__(self, code: int) -> str | int:
        # beyond are ideographs, and tags, which tell the flag of England from that of Wales
        category = unicodedata.category(chr(code)) if code < 0x20000 else ""
        is_mark = category.startswith("P") and chr(code) not in _SIGNS
        self[code] = found = "" if category == "Cf" else " " if is_mark else code
        return found


_BARE = _Table({ord("'"): "", 0x2032: ""} | {code: mark for mark, code in _KEPT.items()})


def normalise_text(text: str) -> str:
    """The form that two texts share if a reader would call them the same sentence.

    NFKC (so full width equals half width), case folding, no punctuation, single spaces, none beside Chinese or
    Japanese characters. Signs that carry meaning stay: those of C#, -5, 10%, @home, A*, .net, R&D, 3.5, 10:30, we're.
    A text of punctuation alone keeps it, so `?` and `!` remain two texts.

    >>> normalise_text("  Don\u2019t  CANCEL it\uff01 ")
    "don't cancel it"
    >>> normalise_text("\u7528 \uff25xcel \u505a\u62a5\u8868\u3002") == normalise_text("\u7528excel\u505a\u62a5\u8868")
    True
    >>> [normalise_text(text) for text in ("It is \u22125\u00b0, well-known.", "It is 5\u00b0: well known!")]
    ['it is -5\u00b0 well known', 'it is 5\u00b0 well known']
    """
    if text.isascii():  # the same, but several times as fast
        folded = text.lower().replace("`", "'")
        return " ".join(_bare(folded).split()) or " ".join(folded.split())
    folded = _FRACTIONS.sub(" ", _POWERS.sub("^", text))
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", folded).casefold())
    folded = _APOSTROPHES.sub("'", _DASHES.sub("-", folded))
    bare = " ".join(_bare(folded).split())
    return _SPACE_BESIDE_CJK.sub("", bare) or " ".join(folded.split())


def _bare(folded: str) -> str:
    return _MEANT.sub(lambda found: found[0].translate(_PROTECT), folded).translate(_BARE)


def is_cjk(text: str) -> bool:
    """Whether the text holds Chinese or Japanese characters.

    >>> is_cjk("\u597d"), is_cjk("good")
    (True, False)
    """
    return _IS_CJK.search(text) is not None


def words(text: str) -> list[str]:
    """Words of a normalised text; each Chinese or Japanese character counts as one.

    >>> words("Pay 20 EUR, now!")
    ['pay', '20', 'eur', 'now']
    >>> len(words("\u8bf7\u4ed820\u5143"))
    4
    """
    return re.findall(rf"[{CJK}]|[^\s{CJK}]+", normalise_text(text))


def digest_of(text: str) -> bytes:
    """8 bytes that equal normalised texts share; half a surrogate pair counts as a question mark.

    >>> digest_of("Hello!") == digest_of("hello")
    True
    """
    return hashlib.blake2b(normalise_text(text).encode("utf-8", "replace"), digest_size=8).digest()

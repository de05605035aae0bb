"""Which language reports are written in, and how a sentence gets there.

Sentences are written in English where they are made, so that the code reads like the report. `say` takes such a
sentence as a template and looks its translation up in one catalogue. Rooms below the reports write facts down in
English, in files that others read back; `told` recognises such a fact by its pattern and translates it where it is
shown.

The language is a setting and never the machine's locale: the same command gives the same report on every machine, and
a colleague who runs it again gets what was sent to him.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

from alignkit.language.catalogue import catalogue
from alignkit.setting_names import SIDES
from alignkit.setting_rules import Rule, check, one_of

ENGLISH, CHINESE = "en", "zh"
LANGUAGES = (ENGLISH, CHINESE)
# what HTML's `lang` says
TAGS = {ENGLISH: "en", CHINESE: "zh-CN"}
RULES: Mapping[str, Rule] = {"language": one_of(LANGUAGES)}

_spoken: ContextVar[str] = ContextVar("language", default=ENGLISH)
# fields of facts that do not stand for any text
_WORDS = {"side": "|".join(SIDES)}
_PART = "(?:(?!; ).)+?"  # a field ends where its fact does
_FIELD = re.compile(r"\{(\w+)\}")


@contextmanager
def speaking(language: str) -> Iterator[None]:
    """Write reports in this language, `en` or `zh`, for as long as the block runs.

    >>> with speaking("zh"):
    ...     say("queries")
    '查询'

    Raises:
        ConfigError: for another language.
    """
    check({"language": language}, RULES, "")
    before = _spoken.set(language)
    try:
        yield
    finally:
        _spoken.reset(before)


def spoken() -> str:
    """The language of reports now."""
    return _spoken.get()


def say(english: str, /, **values: object) -> str:
    """A sentence in the language of reports.

    Args:
        english: a template of `str.format`; it is what the catalogue is keyed by.
        **values: of its fields. Those that are words have been said before.

    >>> say("{count:,} queries", count=1200)
    '1,200 queries'
    """
    return template(english).format(**values)


def template(english: str) -> str:
    """A template in the language of reports, still to be filled; in English where the catalogue lacks it."""
    if spoken() == ENGLISH:
        return english
    return catalogue(spoken()).messages.get(english, english)


def told(english: str) -> str:
    """A fact that a lower room wrote down, in the language of reports; as it is where no pattern fits.

    Several facts may be joined by semicolons.

    >>> told("seeded shares of the rows, equal vectors together")
    'seeded shares of the rows, equal vectors together'
    >>> with speaking("zh"):
    ...     told("12 queries are texts of the corpus; each is left out of its own hits")
    '12 条查询本身就是语料库中的文本，检索时各自从自己的结果中排除'
    """
    if spoken() == ENGLISH:
        return english
    parts = english.split("; ")
    for count in range(len(parts), 0, -1):
        found = _recognised("; ".join(parts[:count]))
        if found is not None:
            rest = "; ".join(parts[count:])
            return f"{found}；{told(rest)}" if rest else found
    rest = "; ".join(parts[1:])
    return f"{parts[0]}；{after}" if rest and (after := told(rest)) != rest else english


def _recognised(english: str) -> str | None:
    for pattern, words in _facts(spoken()):
        if (match := pattern.fullmatch(english)) is not None:
            return words.format(**{name: told(value) for name, value in match.groupdict().items()})
    return None


@functools.cache
def _facts(language: str) -> list[tuple[re.Pattern[str], str]]:
    """Patterns of facts, those that say most first: a vague one must not take what a plain one knows better."""
    found = sorted(catalogue(language).facts.items(), key=lambda fact: -len(_FIELD.sub("", fact[0])))
    return [(_pattern(english), words) for english, words in found]


def _pattern(english: str) -> re.Pattern[str]:
    """A field ends at the first place where the text behind it stands, and is not tried longer: `(?>…)` keeps it so.

    A long text that fits no pattern, an error message for instance, would else be cut in all possible ways.
    """
    opening, *rest = _FIELD.split(english)  # then names of fields and the texts behind them take turns
    parts = [re.escape(opening)]
    for name, behind in zip(rest[::2], rest[1::2], strict=True):
        field = f"(?P<{name}>{_WORDS.get(name, _PART)}){re.escape(behind)}"
        parts.append(f"(?>{field})")
    if rest:  # the last field goes on to where the end fits, and where it stands last it may be several facts
        several = not rest[-1] and rest[-2] not in _WORDS
        parts[-1] = f"(?P<{rest[-2]}>.+)" if several else field
    return re.compile("".join(parts), re.DOTALL)

"""The notation of the seed files: how one line of text becomes parts that can be filled, varied and reversed.

A seed file (`seeds/<language>/<domain>.txt`) is a list of situations::

    [refund-late-parcel]
    (Please refund|Refund) order {order} for {person}, it <arrived too late^never arrived>. / For {person}, ...
    {person} wants <a refund~no refund> because order {order} was late. / ...

`[name]` opens a situation; every line below it means the same and has the same slots. ` / ` separates a sentence from
a close rewording of it. `{order}` is a value from `slots.txt` (`{date2}`: a second, different date). `(a|b)` are
interchangeable words; the first is the seed's. `<a~b>` reads a; with b the sentence asks for the opposite;
`<a!b>` negates it, `<a^b>` makes it a neighbouring intent.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from dataclasses import dataclass

from alignkit.errors import DataError

_PARTS = re.compile(r"\{(?P<slot>[a-z_]+2?)\}|\((?P<choice>[^()|]*\|[^()]*)\)|<(?P<edit>[^<>~!^]*[~!^][^<>~!^]*)>")
_KINDS = {"~": "opposite", "!": "negation", "^": "neighbour"}


@dataclass(frozen=True)
class Slot:
    """A place for a value; `date2` is a second slot of type `date`."""

    name: str

    @property
    def type(self) -> str:
        """The heading in `slots.txt` that lists its values."""
        return self.name.removesuffix("2")


@dataclass(frozen=True)
class Choice:
    """Interchangeable words."""

    options: tuple[str, ...]


@dataclass(frozen=True)
class Edit:
    """Words of the sentence, and others that change what it asks for."""

    words: str
    instead: str
    kind: str


Part = str | Slot | Choice | Edit


@dataclass(frozen=True)
class Wording:
    """One sentence with its slots marked, as parts in order."""

    parts: tuple[Part, ...]

    @property
    def slots(self) -> tuple[str, ...]:
        """Slot names in order of appearance."""
        return tuple(dict.fromkeys(part.name for part in self.parts if isinstance(part, Slot)))

    @property
    def edits(self) -> tuple[int, ...]:
        """Positions of the parts that can be reversed."""
        return tuple(index for index, part in enumerate(self.parts) if isinstance(part, Edit))

    def choose(self, rng: random.Random | None = None) -> tuple[Part, ...]:
        """Parts with every choice made; without `rng` the first option, as the seed was written."""
        return tuple(
            (rng.choice(part.options) if rng else part.options[0]) if isinstance(part, Choice) else part
            for part in self.parts
        )


def fill(parts: tuple[Part, ...], values: Mapping[str, str], edit: int | None = None) -> str:
    """The sentence with its slots filled, the part at position `edit` reversed and the first letter capitalised."""
    words = []
    for index, part in enumerate(parts):
        if isinstance(part, str):
            words.append(part)
        elif isinstance(part, Slot):
            words.append(values[part.name])
        elif isinstance(part, Edit):
            words.append(part.instead if index == edit else part.words)
        else:
            words.append(part.options[0])
    text = "".join(words)
    if "  " in text:
        text = " ".join(text.split())
    text = text.strip()
    return text[:1].upper() + text[1:]


def parse_wording(text: str) -> Wording:
    """Parts of one sentence.

    Raises:
        DataError: for a bracket that is not closed or holds something else; the caller adds file and line.

    >>> wording = parse_wording("(Ask|Tell) {person} to <stay~leave>.")
    >>> fill(wording.choose(), {"person": "Ann"}), fill(wording.choose(), {"person": "Ann"}, edit=wording.edits[0])
    ('Ask Ann to stay.', 'Ask Ann to leave.')
    """
    parts: list[Part] = []
    end = 0
    for match in _PARTS.finditer(text):
        parts.append(text[end : match.start()])
        end = match.end()
        if match["slot"]:
            parts.append(Slot(match["slot"]))
        elif match["choice"] is not None:
            parts.append(Choice(tuple(match["choice"].split("|"))))
        else:
            words, mark, instead = re.split("([~!^])", match["edit"])
            parts.append(Edit(words, instead, _KINDS[mark]))
    parts.append(text[end:])
    wording = Wording(tuple(part for part in parts if part != ""))
    for part in wording.parts:
        loose = re.search(r"[{}<>|]", part) if isinstance(part, str) else None
        if loose:
            raise DataError(f"{loose[0]!r} in {text!r} is not part of a {{slot}}, (a|b) or <a~b>")
    return wording

"""Read the hand-written seeds of a language: situations in several wordings, and their slots' values."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from alignkit.errors import ConfigError, DataError
from alignkit.sentences.normalise import normalise_text
from alignkit.sentences.sentence_files import read_rows
from alignkit.sentences.wordings import Slot, Wording, parse_wording
from alignkit.setting_rules import did_you_mean

FOLDER = Path(__file__).parent / "seeds"
SLOT_FILE = "slots.txt"
PARAPHRASES = 4
HARD_NEGATIVES = 3


@dataclass(frozen=True)
class SlotType:
    """The values of one kind of slot.

    Attributes:
        subtle: marked with a star: readers easily overlook a changed value (a date, an amount).
    """

    values: tuple[str, ...]
    subtle: bool = False


@dataclass(frozen=True)
class Situation:
    """Sentences that all say the same; `families[i]` is a seed with its close rewordings.

    Attributes:
        slots: slot names, the same in every wording, sorted (so `date` precedes `date2`).
    """

    language: str
    domain: str
    intent: str
    families: tuple[tuple[Wording, ...], ...]
    slots: tuple[str, ...]

    @property
    def name(self) -> str:
        """The name of its group in a data set; the same in every language, so translations stay in one split."""
        return f"{self.domain}/{self.intent}"


@dataclass(frozen=True)
class Seeds:
    """Everything written by hand for one language."""

    language: str
    situations: tuple[Situation, ...]
    slot_types: Mapping[str, SlotType]


def languages(folder: str | Path = FOLDER) -> list[str]:
    """Languages that have seeds: the sub-folders with a `slots.txt`."""
    return sorted(path.parent.name for path in Path(folder).glob(f"*/{SLOT_FILE}"))


def read_seeds(language: str, folder: str | Path = FOLDER) -> Seeds:
    """Read everything under `folder/<language>`.

    Raises:
        ConfigError: if there are no seeds for that language.
        DataError: for a line that breaks the notation, an unknown slot, wordings of one situation that do not have the
            same slots, or too few wordings for a sample (file and line).
    """
    known = languages(folder)
    if language not in known:
        raise ConfigError(
            f"no seeds for language {language!r} in {folder}; expected one of: {', '.join(known) or 'none'}"
            + did_you_mean(language, known)
        )
    root = Path(folder) / language
    slot_types = _read_slot_types(root / SLOT_FILE)
    situations = [
        situation
        for path in sorted(root.glob("*.txt"), key=lambda path: path.name)
        if path.name != SLOT_FILE
        for situation in _read_situations(path, language, slot_types)
    ]
    if not situations:
        raise DataError(f"{root} holds no situations; write them as described in alignkit/sentences/wordings.py")
    return Seeds(language, tuple(situations), slot_types)


def _blocks(path: Path) -> Iterator[tuple[int, str, list[tuple[int, str]]]]:
    """`(line, heading, [(line, text)])` for each `[heading]`; blank lines and `#` comments are skipped."""
    block: tuple[int, str, list[tuple[int, str]]] | None = None
    names: set[str] = set()
    for line, row in read_rows(path):
        text = row["text"].strip()
        if not text or text.startswith("#"):
            continue
        heading = re.fullmatch(r"\[(.+)\]", text)
        if heading:
            if block:
                yield block
            if heading[1] in names:
                raise DataError(f"{path}, line {line}: {text} appears twice")
            names.add(heading[1])
            block = (line, heading[1], [])
        elif block is None:
            raise DataError(f"{path}, line {line}: expected a [heading] before the first sentence")
        else:
            block[2].append((line, text))
    if block:
        yield block


def _read_situations(path: Path, language: str, slot_types: Mapping[str, SlotType]) -> Iterator[Situation]:
    for line, intent, sentences in _blocks(path):
        families = []
        slots: tuple[str, ...] = ()
        for number, text in sentences:
            try:
                family = tuple(parse_wording(wording) for wording in text.split(" / "))
            except DataError as error:
                raise DataError(f"{path}, line {number}: {error}") from None
            slots = slots or tuple(sorted(family[0].slots))
            for wording in family:
                _check_slots(wording, slots, slot_types, f"{path}, line {number}")
            if not any(wording.edits for wording in family[:1]) and len(slots) < HARD_NEGATIVES:
                raise DataError(
                    f"{path}, line {number}: mark at least one <a~b> in the sentence before the first ' / '"
                )
            families.append(family)
        if sum(len(family) for family in families) <= PARAPHRASES:
            raise DataError(f"{path}, line {line}: [{intent}] needs more than {PARAPHRASES} wordings")
        yield Situation(language, path.stem, intent, tuple(families), slots)


def _check_slots(wording: Wording, slots: tuple[str, ...], slot_types: Mapping[str, SlotType], place: str) -> None:
    if not slots or set(wording.slots) != set(slots):
        raise DataError(
            f"{place}: every wording of a situation must have the same slots; expected "
            f"{', '.join(slots) or 'at least one'}, got {', '.join(wording.slots) or 'none'}"
        )
    for name in slots:
        if Slot(name).type not in slot_types:
            raise DataError(f"{place}: slot {{{name}}} is not in {SLOT_FILE}; found: {', '.join(sorted(slot_types))}")


def _read_slot_types(path: Path) -> dict[str, SlotType]:
    """`[name]` or `[name *]`, then values; `{1..28}` counts, `{month}` stands for each value of a type above."""
    types: dict[str, SlotType] = {}
    for line, heading, entries in _blocks(path):
        name, _, star = heading.partition(" ")
        values: dict[str, str] = {}
        for number, text in entries:
            for value in _expand(text, types, f"{path}, line {number}"):
                if values.setdefault(normalise_text(value), value) != value:
                    raise DataError(f"{path}, line {number}: value {value!r} appears twice in [{name}]")
        if len(values) < HARD_NEGATIVES + 1:
            raise DataError(f"{path}, line {line}: [{name}] needs at least {HARD_NEGATIVES + 1} values")
        types[name] = SlotType(tuple(values.values()), star == "*")
    return types


def _expand(text: str, types: Mapping[str, SlotType], place: str) -> Iterator[str]:
    choices: list[tuple[str, ...]] = []
    for index, piece in enumerate(re.split(r"\{([^{}]*)\}", text)):
        span = re.fullmatch(r"(\d+)\.\.(\d+)(?:/(\d+))?", piece)
        if index % 2 == 0:
            choices.append((piece,))
        elif span:
            first, last, step = int(span[1]), int(span[2]), int(span[3] or 1)
            choices.append(tuple(str(number).zfill(len(span[1])) for number in range(first, last + 1, step)))
        elif piece in types:
            choices.append(types[piece].values)
        else:
            raise DataError(f"{place}: {{{piece}}} is neither {{first..last}} nor a slot defined above")
    return ("".join(combination) for combination in itertools.product(*choices))

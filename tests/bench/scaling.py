"""What a billion rows cost by each command, from the rates that `rates.py` measures: the tables of SCALING.md."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

ROWS = 1_000_000_000
STUDENT_BYTES, TEACHER_BYTES = 2 * 1_024, 2 * 3_584
TEXT_BYTES = 100
MACHINES = (1, 10, 100)
# bytes a second, from the files to the card
TO_THE_CARD = "bytes to the card"


class Machine(NamedTuple):
    """What each machine has; storage is its own disk where it is alone, else it is reached by the network."""

    cores: int = 16
    disk: float = 2e9
    network: float = 1.25e9


@dataclass(frozen=True)
class Work:
    """One command on a billion rows.

    Attributes:
        name: in the table.
        rates: each of these is done once a row, by one core.
        read: bytes a row; `written` likewise.
        times: how often a row is worked on.
        spread: over all `machines`, the cores of `one machine`, or `one core`.
    """

    name: str
    rates: tuple[str, ...]
    read: int
    written: int = 0
    times: float = 1
    spread: str = "machines"

    def core_seconds(self, rates: Mapping[str, float]) -> float:
        """Of one core, or of one card where the rates are a card's."""
        return ROWS * self.times * sum(1 / rates[name] for name in self.rates)

    def seconds(
        self, rates: Mapping[str, float], machines: int, machine: Machine, card: Mapping[str, float] | None = None
    ) -> tuple[float, str]:
        """By the clock, and what it waits for; with one card a machine its rates count, and not the cores'."""
        moved = ROWS * (self.read + self.written) / machines
        by = {"disk": moved / machine.disk} if machines == 1 else {"network": moved / machine.network}
        if card is None:
            cores = 1 if self.spread == "one core" else machine.cores * machines
            by["cores"] = self.core_seconds(rates) / cores
        else:
            by["card"] = self.core_seconds(card) / machines
            by["way to the card"] = ROWS * self.read / machines / card[TO_THE_CARD]
        limit = max(by, key=lambda name: by[name])
        return by[limit], limit


# 5,000 queries each of teacher, head, ridge and raw, the one of the mean predictor, and 5,000 against an aligned corpus
EVALUATED, ASKED = 5_000 * 4 + 1 + 5_000, 2 * 200
WORKS = (
    Work("`embed`, student `static`", ("embed, static", "cache, filled"), TEXT_BYTES, STUDENT_BYTES),
    Work("`embed`, student `two_layer`", ("embed, two_layer", "cache, filled"), TEXT_BYTES, STUDENT_BYTES),
    Work("`embed`, teacher `minilm`", ("embed, minilm", "cache, filled"), TEXT_BYTES, 2 * 384),
    Work("caches of the workers merged", ("cache, merged",), STUDENT_BYTES, STUDENT_BYTES, spread="one core"),
    Work("`train`, files opened and dealt", ("pairs opened",), STUDENT_BYTES + TEACHER_BYTES, spread="one core"),
    Work("`train`, ridge: a pass of its sums", ("ridge, a pass",), STUDENT_BYTES + TEACHER_BYTES),
    Work("`migrate`, a linear head", ("migrate, linear",), STUDENT_BYTES, TEACHER_BYTES),
    Work("`migrate`, an MLP", ("migrate, mlp",), STUDENT_BYTES, TEACHER_BYTES),
    Work("`evaluate`, 5,000 queries", ("search, row and query",), STUDENT_BYTES + 2 * TEACHER_BYTES, times=EVALUATED),
    Work(
        "`watch`, a look of 200 queries", ("search, row and query",), TEACHER_BYTES, times=ASKED, spread="one machine"
    ),
    Work("`check index=`", ("check index",), TEACHER_BYTES, spread="one core"),
)  # fmt: skip


def tables(measured: Mapping[str, Any], machine: Machine | None = None) -> str:
    """The rates, and the hours by command, as Markdown."""
    rates, about = measured["rates"], measured["about"]
    machine = machine or Machine()
    lines = [f"One core of {about['chip']}, torch {about['torch']}, Python {about['python']}, {about['date']}:", ""]
    lines += ["| what | a second |", "| --- | ---: |"]
    lines += [f"| {name} | {_figure(name, value)} |" for name, value in rates.items()]
    each = f"{machine.cores} cores like the one below, a disk of {machine.disk / 1e9:g} GB/s"
    lines += ["", f"A billion rows; each machine has {each} and a network of {machine.network * 8 / 1e9:g} Gbit/s:"]
    lines += ["", *_table(rates, machine)]
    if card := measured.get("card"):
        lines += ["", f"The same with one card a machine ({card['about']}):", ""]
        lines += _table(rates, machine, card["rates"])
    return "\n".join(lines) + "\n"


def _table(rates: Mapping[str, float], machine: Machine, card: Mapping[str, float] | None = None) -> list[str]:
    plural = [f"{count} machine{'s' * (count > 1)}" for count in MACHINES]
    lines = [f"| command | {'core' if card is None else 'card'} hours | {' | '.join(plural)} |"]
    lines.append(f"| --- | ---: | {' | '.join('---:' for _ in MACHINES)} |")
    for work in WORKS:
        if card is None or set(work.rates) <= card.keys():
            alone = work.spread != "machines"
            cells = [
                "–" if alone and count > 1 else _time(*work.seconds(rates, count, machine, card)) for count in MACHINES
            ]
            hours = work.core_seconds(rates if card is None else card) / 3600
            lines.append(f"| {work.name} | {_short(hours)} | {' | '.join(cells)} |")
    return lines


def _time(seconds: float, limit: str) -> str:
    units = ((2 * 86_400, 86_400, "days"), (3_600, 3_600, "h"), (60, 60, "min"), (0, 1, "s"))
    unit, name = next((unit, name) for least, unit, name in units if seconds >= least)
    return f"{_short(seconds / unit)} {name} ({limit})"


def _short(value: float) -> str:
    return f"{value:.1f}" if value < 10 else f"{value:,.0f}"


def _figure(name: str, value: float) -> str:
    if name.startswith("disk"):
        return f"{value / 1e6:,.0f} MB"
    return f"{value:,.0f}"

"""The command `demo`: what is done once its words have been read."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Sequence

from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table
from rich.text import Text

from alignkit.artifact import load_artifact
from alignkit.commandline import build, plain
from alignkit.commandline.data import build_data
from alignkit.commandline.results import Screen
from alignkit.commandline.sides import complete_sides
from alignkit.embedders.base import Embedder, Role
from alignkit.errors import EmbedderError
from alignkit.evaluation.embedding_time import where_it_ran
from alignkit.evaluation.same_models import check_fit, check_models, doubts_of
from alignkit.evaluation.side_by_side import EMBED, Answer, Hit, SideBySide
from alignkit.evaluation.student_record import product_of
from alignkit.evaluation.table_rows import RowName
from alignkit.head_models import check_student
from alignkit.language.speaking import say, told
from alignkit.pairs.text_sets import TextSet, evaluation_set
from alignkit.runs.folder import asked_head
from alignkit.setting_names import SIDES

logger = logging.getLogger("alignkit.demo")

OWN_INDEX, TEACHERS_INDEX = "{row} (own index)", "{row} (teacher's index)"
HEADINGS = {
    RowName.STUDENT: OWN_INDEX,
    RowName.STUDENT_TUNED: OWN_INDEX,
    RowName.ALIGNED: TEACHERS_INDEX,
    RowName.TUNED: TEACHERS_INDEX,
    RowName.TEACHER: "{row}",
}


def main(config: DictConfig) -> None:
    """Load head and data, search, print."""
    head = asked_head(config.head)
    artifact = load_artifact(head)
    complete_sides(config, artifact, head)
    settings = plain(config)
    data = build_data(settings)
    names = SIDES if isinstance(data, TextSet) else ("student",) if settings["interactive"] else ()
    embedders: dict[str, Embedder] = {name: build(settings[name], name) for name in names}
    console = Screen(100)
    console.print(f"{say('head: {head}', head=head)}\n", soft_wrap=True, markup=False)
    try:
        check_models(artifact, embedders if isinstance(data, TextSet) else {})
        test = evaluation_set(data, embedders, settings["seed"])
        check_fit(artifact, test)
        for doubt in doubts_of(artifact, test):
            logger.warning("%s", told(doubt))
        searches = SideBySide(test, artifact.query_head, product_of(artifact))
        if settings["interactive"]:
            role = check_student(artifact, embedders["student"], False)
            _converse(console, searches, embedders["student"], role, settings["topk"])
        else:
            for answer in searches.samples(settings["samples"], settings["topk"], settings["seed"]):
                _show(console, searches, answer)
            console.print(say("+2: two places higher than the teacher has it; -3: three places lower."), style="dim")
    finally:
        for embedder in embedders.values():
            embedder.close()


def _converse(console: Console, searches: SideBySide, student: Embedder, role: Role, topk: int) -> None:
    place = None
    for line in _lines():
        try:
            answer = searches.ask(line, student, role, topk)
            place = place or where_it_ran(student)  # after the first call: only then a model is on its device
            _show(console, searches, answer, place)
        except EmbedderError as error:  # one bad sentence ends nothing
            console.print(str(error), style="red", markup=False)


def _lines() -> Iterator[str]:
    print(say("Type a sentence and press Enter; an empty line ends."), file=sys.stderr)  # noqa: T201
    for line in sys.stdin:
        if not line.strip():
            return
        yield line.strip()


def _show(console: Console, searches: SideBySide, answer: Answer, place: str | None = None) -> None:
    table = Table(title=Text(answer.query), title_justify="left", title_style="bold", show_lines=False, expand=True)
    names = [name for name in HEADINGS if name in answer.hits]
    table.add_column("", justify="right", no_wrap=True)
    for name in names:
        table.add_column(say(HEADINGS[name], row=name), ratio=1)
    for rank in range(max(len(hits) for hits in answer.hits.values())):
        table.add_row(Text(str(rank + 1)), *(_cell(searches, answer.hits[name], rank) for name in names))
    console.print(table)
    if EMBED in answer.times_ms:
        embedded = say("embedding, {time:.2f} ms: {place}", time=answer.times_ms[EMBED], place=told(place or "-"))
        console.print(embedded, style="dim", markup=False)
    steps = [f"{_step(name)} {milliseconds:.2f}" for name, milliseconds in answer.times_ms.items() if name != EMBED]
    console.print(f"{say('CPU milliseconds: {steps}', steps=say(', ').join(steps))}\n", style="dim")


def _step(name: str) -> str:
    """What takes a time: a word, and the row that it is of."""
    word, _, row = name.partition(" ")
    return f"{told(word)} {row}".rstrip()


def _cell(searches: SideBySide, hits: Sequence[Hit], rank: int) -> Text:
    if rank >= len(hits):
        return Text()
    hit = hits[rank]
    moved = f" {hit.moved:+d}" if hit.moved else ""
    # Text, because square brackets of a sentence are not rich's markup
    return Text(f"{hit.score:.2f}{moved}  {searches.text(hit)}")

"""The command `build`: what is done once its words have been read."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig

from alignkit.commandline import build, plain
from alignkit.commandline.results import Screen
from alignkit.embedders.base import Embedder, embed_all
from alignkit.files import write_whole
from alignkit.pasting import command_line
from alignkit.progress import progress
from alignkit.sentences.dataset_card import data_card
from alignkit.sentences.dataset_folder import README, SENTENCES, new_folder
from alignkit.sentences.dataset_writing import Written, write_dataset
from alignkit.sentences.generators import Generated
from alignkit.sentences.quality import judge_samples, measure_texts
from alignkit.sentences.records import Sample
from alignkit.setting_names import settings_under

logger = logging.getLogger("alignkit.build")

MOST_JUDGED = 1_000


def main(config: DictConfig) -> None:
    """Generate, write, measure, print."""
    settings = plain(config)
    basics = {name: settings[name] for name in ("target", "language", "seed", "out")}
    with new_folder(basics["out"]) as folder:
        with settings_under("generator"):
            generated: Generated = build(settings["generator"], "generator")(**basics)
            written = _write(folder, generated, settings)
        judged = written.first[:MOST_JUDGED]
        figures = judge_samples(judged, *(_embed(settings.get(side), side, judged) for side in ("teacher", "student")))
        card = data_card(
            Path(basics["out"]).name,
            {name: settings[name] for name in ("target", "language", "seed", "validation", "test")},
            generated.about(),
            written,
            measure_texts(written.first),
            figures,
        )
        write_whole(folder / README, card)
    generated.finish()
    _print(Path(basics["out"]), written, generated.about(), card)


def _write(folder: Path, generated: Generated, settings: dict[str, Any]) -> Written:
    with progress("build", "samples") as counted:
        counted.begin(generated.total)
        return write_dataset(
            folder,
            generated.samples,
            generated.seeds,
            seed=settings["seed"],
            validation=settings["validation"],
            test=settings["test"],
            threshold=settings["near_duplicate"],
            on_sample=counted.advance,
        )


def _embed(settings: dict[str, Any] | None, side: str, samples: list[Sample]) -> np.ndarray | None:
    if not settings:
        return None
    embedder: Embedder = build(settings, side)
    try:
        return embed_all(embedder, [text for sample in samples for text in sample.texts()])
    finally:
        embedder.close()


def _print(out: Path, written: Written, about: str, card: str) -> None:
    console = Screen()
    splits = ", ".join(f"{count:,} {name}" for name, count in written.splits.items())
    console.print(f"{written.samples:,} samples ({splits}); {about}", soft_wrap=True, markup=False)
    console.print(f"{written.closed.distinct_texts:,} of {written.texts:,} texts are distinct", soft_wrap=True)
    quality = card.partition("## Quality\n\n")[2].partition("\n\n## Files")[0]
    for row in quality.splitlines()[2:]:
        if row.startswith("| "):
            name, figure = (cell.strip() for cell in row.strip("|").split("|"))
            console.print(f"{name}: {figure}", soft_wrap=True, markup=False)
    following = command_line("embed", [f"sentences={out / SENTENCES}"])
    console.print(f"\ndata card: {out / README}\nnext: {following}", soft_wrap=True, markup=False)

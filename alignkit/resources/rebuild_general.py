"""Choose the packaged everyday sentences again: python -m alignkit.resources.rebuild_general FILE.

FILE is a table with the columns `en` and `zh`, tab-separated: Tatoeba's sentence pairs of manythings.org/anki, under
CC BY 2.0 FR. The same file gives the same choice.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import numpy as np

from alignkit.sentences.normalise import normalise_text

CHOSEN = 500
FEWEST_WORDS, MOST_WORDS = 6, 25
FILE = Path(__file__).parent / "general" / "sentences.tsv"
SEED = 0
# nobody should come upon these in a package
UNWANTED = re.compile(
    r"\b(?:kill|murder|rape|sex|drug|suicid|dead|die|gun|shot|shoot|blood|bomb|terror|drunk|naked|whore|hell|damn|god|jew"
    r"|muslim|christian|hitler|nazi|war\b|slave|fat\b|ugly|stupid|idiot|steal|stole|beat|hit\b|prison|crime)",
    re.IGNORECASE,
)


def choose(pairs: list[list[str]]) -> list[list[str]]:
    """A seeded choice of pairs; neither side of one stands twice, by `normalise_text`."""
    taken: set[str] = set()
    chosen: list[list[str]] = []
    for row in np.random.default_rng(SEED).permutation(len(pairs)):
        english, chinese = pairs[row]
        both = {normalise_text(english), normalise_text(chinese)}
        fits = FEWEST_WORDS <= len(english.split()) <= MOST_WORDS and english.isascii() and not UNWANTED.search(english)
        if fits and not both & taken:
            taken |= both
            chosen.append([english, chinese])
        if len(chosen) == CHOSEN:
            break
    return chosen


def rebuild(file: Path) -> None:
    """Choose the sentences and write them."""
    header, *lines = file.read_text(encoding="utf-8").splitlines()
    places = [header.split("\t").index(name) for name in ("en", "zh")]
    rows = [line.split("\t") for line in lines]
    chosen = choose([[row[place] for place in places] for row in rows])
    text = "".join(f"{english}\t{chinese}\n" for english, chinese in [["en", "zh"], *chosen])
    FILE.write_text(text, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("file", type=Path)
    rebuild(parser.parse_args().file)

"""The looks at a head so far, kept beside it: one file a look, none of which is ever changed."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout

from alignkit.errors import ArtifactError
from alignkit.files import refused, write_whole
from alignkit.head_files import bundle_at, find_head
from alignkit.hub.hub_address import is_hub_address, parse_address
from alignkit.watching.searched import Figures

logger = logging.getLogger(__name__)

FOLDER, REFERENCE, LOCK = "watch", "reference.json", "watch.lock"


@dataclass(frozen=True)
class Reference:
    """What live queries are compared with: held-out queries of the run, searched at the first look.

    Attributes:
        of: whose figures these are, in words.
        place: what was searched.
        figures: of each of its queries.
    """

    of: str
    place: str
    figures: Figures


@dataclass(frozen=True)
class Look:
    """Some live queries that the teacher was asked for.

    Attributes:
        number: from 1.
        at: when, ISO 8601.
        queries: name of their file.
        latest: when the latest query of that file came, ISO 8601; `None` where it has no times.
        keys: of the rows that were asked, those without a vector included.
        days: of each query that has figures, ISO 8601 or `None`.
        overlap: of each.
        cosine: of each.
        normal_scores: of each, among the reference's and those before; see `e_process.normal_scores`.
    """

    number: int
    at: str
    queries: str
    latest: str | None
    keys: list[str]
    days: list[str | None]
    overlap: list[float]
    cosine: list[float]
    normal_scores: list[float]

    @property
    def figures(self) -> Figures:
        """Of its queries."""
        return Figures(np.array(self.overlap, dtype=np.float64), np.array(self.cosine, dtype=np.float64))


@dataclass(frozen=True)
class PastLooks:
    """All looks at one head against one index.

    Attributes:
        folder: theirs.
        reference: `None` before the first look.
        looks: in order.
    """

    folder: Path
    reference: Reference | None = None
    looks: list[Look] = field(default_factory=list)

    def begin(self, reference: Reference) -> PastLooks:
        """Keep what all later looks are compared with.

        Raises:
            AlignkitError: if it cannot be written.
        """
        figures = reference.figures
        told = {
            "of": reference.of,
            "place": reference.place,
            "overlap": figures.overlap.tolist(),
            "cosine": figures.cosine.tolist(),
        }
        write_whole(self.folder / REFERENCE, json.dumps(told))
        return PastLooks(self.folder, reference, self.looks)

    def add(self, look: Look) -> PastLooks:
        """Keep one more.

        Raises:
            AlignkitError: if it cannot be written.
        """
        write_whole(self.folder / f"look-{look.number:05}.json", json.dumps(asdict(look)))
        return PastLooks(self.folder, self.reference, [*self.looks, look])

    def scores(self) -> np.ndarray:
        """Of the reference and all looks."""
        parts = [self.reference.figures] if self.reference else []
        return np.concatenate(
            [np.empty(0), *(part.scores() for part in (*parts, *(one.figures for one in self.looks)))]
        )

    def asked(self) -> set[str]:
        """Keys of the rows that were asked."""
        return {key for look in self.looks for key in look.keys}


@contextmanager
def past_looks(head: str | Path, about: Mapping[str, Any]) -> Iterator[PastLooks]:
    """Read the looks at a head, and keep others from looking at it until the block ends.

    Args:
        head: a run folder, its `head/`, or a bundle.
        about: what makes figures comparable: the head's weights, what is searched. Looks of something else stay where
            they are, and are not read.

    Raises:
        ArtifactError: if a file of theirs is damaged.
        AlignkitError: if nothing can be written there.
    """
    place = beside(head)
    name = hashlib.blake2b(json.dumps(about, sort_keys=True, default=str).encode(), digest_size=6).hexdigest()
    held = FileLock(place / LOCK, thread_local=False)
    try:
        place.mkdir(parents=True, exist_ok=True)
        try:
            held.acquire(timeout=0)
        except Timeout:
            logger.warning("another watch is looking at this head; waiting for it to finish")
            held.acquire()
    except OSError as error:
        raise refused(place, error) from None
    try:
        yield _read(place / name)
    finally:
        held.release()


def beside(head: str | Path) -> Path:
    """The folder for the looks at a head: in its run folder, beside its files or a bundle, or here for the Hub's."""
    if (bundle := bundle_at(head)) is not None:
        return bundle.with_name(f"{bundle.name}.{FOLDER}")
    if is_hub_address(head):  # the Hub's cache is no place for what must stay
        return Path(f"{parse_address(head).repo.replace('/', '--')}.{FOLDER}").absolute()
    folder = find_head(head)
    return (folder.parent if folder.name == "head" else folder) / FOLDER


def _read(folder: Path) -> PastLooks:
    kept = folder / REFERENCE
    if not kept.is_file():
        return PastLooks(folder)
    path = kept
    try:
        told = json.loads(kept.read_text(encoding="utf-8"))
        figures = Figures(np.array(told["overlap"], np.float64), np.array(told["cosine"], np.float64))
        looks = []
        for path in sorted(folder.glob("look-*.json")):
            looks.append(Look(**json.loads(path.read_text(encoding="utf-8"))))
            if len({len(looks[-1].overlap), len(looks[-1].cosine), len(looks[-1].normal_scores)}) != 1:
                raise ValueError("its lists are of different lengths")
        return PastLooks(folder, Reference(told["of"], told["place"], figures), looks)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ArtifactError(
            f"{path}: not what watch keeps of a look ({error}); put it back from a copy, or remove the folder "
            f"{folder} to begin anew"
        ) from None

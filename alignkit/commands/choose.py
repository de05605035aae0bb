"""The command `choose`: what is done once its words have been read."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig

from alignkit.artifact import Artifact, load_artifact
from alignkit.cache import CachedEmbedder, VectorCache
from alignkit.choosing.candidates import MOST_COVERED, Candidates, TeachersCache, read_candidates
from alignkit.choosing.chosen import Chosen, choose
from alignkit.choosing.spreading import Covered
from alignkit.choosing.text_sample import TextSample
from alignkit.commandline import build, plain
from alignkit.commandline.results import Screen
from alignkit.commandline.sides import PACKAGED_SIDES, complete_sides, words_of_side
from alignkit.costs import CallCost, call_cost, price_of
from alignkit.embedders.base import ROLES, Role
from alignkit.errors import ArtifactError, ConfigError
from alignkit.files import write_whole
from alignkit.head_models import check_student
from alignkit.object_storage.located import located
from alignkit.pasting import command_line
from alignkit.runs.fingerprints import training_fingerprints
from alignkit.runs.folder import run_of
from alignkit.runs.training_sample import TrainingSample
from alignkit.sentences.normalise import digest_of
from alignkit.watching.live_rows import LiveRows, check_same_student


@dataclass(frozen=True)
class Learnt:
    """What the head knows already.

    Attributes:
        fingerprints: of its texts.
        texts: some of them, where a file names them.
        vectors: some of them, where a run kept them.
        artifact: the run's head.
    """

    fingerprints: np.ndarray | None = None
    texts: TextSample | None = None
    vectors: tuple[Covered, ...] = ()
    artifact: Artifact | None = None


def main(config: DictConfig) -> None:
    """Read, choose, write, say."""
    learnt = _learnt(config.already, config.text_column)
    told = learnt.artifact is not None and learnt.artifact.teacher_identity is not None
    sides = ("student", "teacher") if config.get("teacher") or told else ("student",)
    complete_sides(config, learnt.artifact, config.already, {side: PACKAGED_SIDES[side] for side in sides})
    settings = plain(config)
    price = price_of(settings.get("teacher"))
    sentences, out = located(settings["sentences"]), Path(settings["out"]).expanduser()
    for name in ("sentences", "already"):
        given = settings[name] and located(settings[name]).resolve()
        if given and given in (out.resolve(), out.resolve().parent):
            raise ConfigError(f"out={out}: that is {name}=, or would lie in it; give another place")
    rows = LiveRows(settings["sentences"], settings["text_column"])
    with VectorCache(settings["cache_dir"]) as cache, closing(build(settings["student"], "student")) as student:
        role: Role = settings["role"]
        if learnt.artifact is not None:
            role = check_student(learnt.artifact, student, allow_mismatch=False)
        if rows.logged_by:
            check_same_student(settings["sentences"], rows.logged_by, [student.identity(one) for one in ROLES])
        found = read_candidates(
            (row.text for row in rows),
            settings["budget"],
            learnt=learnt.fingerprints,
            teacher=_cached(settings, cache),
            seed=settings["seed"],
        )
        chosen = choose(
            found, CachedEmbedder(student, cache), role, settings["budget"],
            before=learnt.vectors, learnt=learnt.texts, seed=settings["seed"],
        )  # fmt: skip
    _write(out, chosen)
    cost = None if price is None else _cost(price, chosen.texts, settings["teacher"])
    console = Screen(80)
    for line in _words(sentences.name, found, chosen, settings):
        console.print(line, markup=False)
    if rows.torn:
        console.print(f"lines left out because they are not whole, being written or cut off: {rows.torn:,}")
    spent = "" if cost is None else f", {cost.words(len(chosen.texts))}"
    console.print(f"calls of the teacher: {len(chosen.texts):,}{spent}", markup=False)
    console.print(f"{out}: {len(chosen.texts):,} sentences\nnext: {_next(out, settings)}", soft_wrap=True, markup=False)


def _learnt(already: str | None, text_column: str | None) -> Learnt:
    """What `already=` names: the run of a head, or a file of sentences."""
    if already is None:
        return Learnt()
    path = Path(already).expanduser()
    if path.is_file() and path.suffix.lower() != ".zip":
        texts, digests = TextSample(MOST_COVERED), []
        for row in LiveRows(path, text_column):
            digests.append(digest_of(row.text))
            texts.add(row.text, digests[-1])
        return Learnt(np.frombuffer(b"".join(digests), dtype="<u8"), texts)
    if not path.exists():
        raise ConfigError(
            f"already={already}: there is no such file or folder; give a run folder, or a file of sentences"
        )
    artifact, run = load_artifact(path), run_of(path)
    known, sample = training_fingerprints(run), TrainingSample.load(run)
    if known is None and sample is None:
        raise ArtifactError(
            f"already={already}: nothing there tells what the head was trained on; give the run folder of train, or "
            "the file of the sentences"
        )
    vectors = () if sample is None else (_covered(sample.student, known),)
    return Learnt(known, None, vectors, artifact)


def _covered(student: np.ndarray, known: np.ndarray | None) -> Covered:
    each = 1.0 if known is None else max(1.0, len(np.unique(known)) / max(1, len(student)))
    return Covered(student, each)


def _cached(settings: Mapping[str, Any], cache: VectorCache) -> TeachersCache | None:
    """What the cache holds of the teacher, which is not asked anything."""
    if settings.get("teacher") is None:
        return None
    with closing(build(settings["teacher"], "teacher")) as teacher:
        identity = cache.remembered(teacher.settings(settings["role"]))
    return None if identity is None else TeachersCache(cache, identity)


def _cost(price: float, texts: list[str], settings: Mapping[str, Any]) -> CallCost:
    with closing(build(settings, "teacher")) as teacher:
        return call_cost(price, texts, teacher)


def _write(out: Path, chosen: Chosen) -> None:
    """A line a text; a line break within one becomes a space where the lines are the texts."""
    if out.suffix.lower() == ".jsonl":
        rows = zip(chosen.texts, chosen.counts, strict=True)
        lines = [json.dumps({"text": text, "count": count}, ensure_ascii=False) for text, count in rows]
    else:
        lines = [" ".join(text.splitlines()) for text in chosen.texts]
    write_whole(out, "".join(f"{line}\n" for line in lines))


def _words(name: str, found: Candidates, chosen: Chosen, settings: Mapping[str, Any]) -> Iterator[str]:
    """What was read, what was left out and why, what was chosen."""
    new, budget = found.new, settings["budget"]
    yield f"{name}: {found.read:,} sentences"
    left_out = (
        (
            found.cached,
            f"have the teacher's vector in {settings['cache_dir']}: they cost no call and are not chosen again",
        ),
        (found.learnt, "are in already=, and are not chosen again"),
        (found.refused, "could not be embedded by the teacher before; embed retry_quarantined=true tries them again"),
    )
    for sample, why in left_out:
        if sample.read:
            yield f"{'' if sample.is_whole else 'about '}{sample.distinct:,} of them {why}"
    distinct = f"{'' if new.is_whole else 'about '}{new.distinct:,} different ones"
    if len(chosen.texts) == new.distinct:
        yield (
            f"all {distinct} that are new are taken, fewer than budget={budget}"
            if new.distinct < budget
            else (f"all {distinct} that are new are taken")
        )
    else:
        looked = "" if new.is_whole else f", looking at a random {len(new.texts):,} of them"
        yield f"{len(chosen.texts):,} chosen of {distinct} that are new{looked}"
    if chosen.passed:
        yield f"{chosen.passed:,} were passed over: nearly the same as others"
    if chosen.near:
        yield f"{chosen.near:,} of the chosen are nearly the same as others: there were no more"
    if chosen.without_vector:
        first = next(iter(chosen.without_vector.values()))
        yield f"{len(chosen.without_vector):,} have no vector by the student and are left out; the first: {first}"


def _next(out: Path, settings: Mapping[str, Any]) -> str:
    """The command that embeds what was chosen."""
    teacher = settings.get("teacher")
    words = ["which=teacher", f"sentences={out}"]
    words += words_of_side("teacher", teacher) if teacher is not None else ["teacher=TEACHER"]
    usual = {"cache_dir": "cache", "role": "document"}
    words += [f"{key}={settings[key]}" for key, value in usual.items() if settings[key] != value]
    return command_line("embed", words)

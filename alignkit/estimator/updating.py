"""Adds pairs to a head whose run kept the sums of its own, and takes pairs out: what holds, what is decided again."""

from __future__ import annotations

import copy
import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from alignkit.artifact import CONFIDENCE, WHITENING, Artifact, load_artifact
from alignkit.errors import ArtifactError, ConfigError, DataError
from alignkit.estimator.related_pairs import check_same_models
from alignkit.estimator.taking_out import Forgotten, take_out
from alignkit.head_files import find_head
from alignkit.heads.base import Part
from alignkit.heads.confidence import ConfidenceEstimate
from alignkit.heads.kept_moments import LAMBDA
from alignkit.hub.hub_address import is_hub_address
from alignkit.pairs.base import Pairs, PairSplits
from alignkit.pairs.views import take_pairs
from alignkit.parts import settings_of_part
from alignkit.runs.earlier_fit import EarlierFit, Solved, pair_fingerprints
from alignkit.runs.fingerprints import seen_in_training, training_fingerprints
from alignkit.runs.held_out_sample import HeldOutSample
from alignkit.runs.training_sample import TrainingSample
from alignkit.runs.whitening_record import WhiteningRecord

logger = logging.getLogger(__name__)

_ROWS_AT_ONCE = 100_000


@dataclass(frozen=True)
class Update:
    """A run that new pairs are added to.

    Attributes:
        run: its folder.
        artifact: its head.
        earlier: the sums that it kept, without the forgotten pairs.
        forgotten: pairs of the run that are taken out of it.
        adds: whether there are new pairs; without any, the run's own ones are what the report looks at beside the test
            split.
    """

    run: Path
    artifact: Artifact
    earlier: EarlierFit
    forgotten: Forgotten | None = None
    adds: bool = True

    @classmethod
    def of(cls, run: str | Path) -> Update:
        """Read a run.

        Raises:
            ConfigError: if it kept no sums, or lies on the Hub.
            ArtifactError: if it holds no head, a damaged one, or the sums of another.
        """
        if is_hub_address(run):
            raise ConfigError(
                f"update={run}: the sums of its pairs are not on the Hub; give the run folder that it was pushed from, "
                "or train once more on all pairs, with keep_moments=true"
            )
        folder = find_head(run).parent
        artifact, earlier = load_artifact(folder), EarlierFit.load(folder)
        if (artifact.head.kind(), artifact.head.arguments()) != (earlier.kind, earlier.arguments):
            raise ArtifactError(f"{folder}: its head and its sums are of two different runs; copy the run again")
        return cls(folder, artifact, earlier)

    def settings(self, settings: Mapping[str, Any], given: Collection[str]) -> dict[str, Any]:
        """The settings with the run's head in place of their own, and no training beyond the closed form by default.

        Args:
            settings: plain values, as in `conf/train.yaml`.
            given: what was named of the head: `model`, `model.features`; λ alone may differ from the run's.

        Raises:
            ConfigError: if something else differs, or pairs would count by a weight.
        """
        if settings.get("extra"):
            raise ConfigError("update= and extra= do not go together; give the further pairs as data=, one run each")
        asked = settings["model"]
        model = settings_of_part("model", self.earlier.kind, settings["seed"])
        model |= {name: value for name, value in self.earlier.arguments.items() if name in model}
        names = {name.removeprefix("model.") for name in given}
        for name in sorted(names - {LAMBDA}):
            key = "_target_" if name == "model" else name
            if asked.get(key) != model.get(key) or key not in model:
                place, own = ("model", self.earlier.kind) if name == "model" else (f"model.{name}", model.get(name))
                raise ConfigError(
                    f"update={self.run}: the sums there are of a head with {place}={own}; leave {place} out, or train "
                    "once more on all pairs"
                )
        if LAMBDA in names:
            model[LAMBDA] = asked[LAMBDA]
        trainer = dict(settings["trainer"])
        if trainer.get("max_epochs") is None:  # training would see the new pairs alone
            trainer["max_epochs"] = 0
        return {**settings, "model": model, "trainer": trainer, "keep_moments": True}

    def without(self, gone: Pairs) -> Update:
        """The run without some of its pairs.

        Raises:
            AlignkitError: see `take_out`.
        """
        earlier, forgotten = take_out(self.run, self.earlier, gone)
        return replace(self, earlier=earlier, forgotten=forgotten)

    def solved(self, model: Mapping[str, Any], splits: PairSplits) -> Solved:
        """What the closed form goes on from.

        What was chosen holds, but for a λ that is given, and for one that was chosen on fewer pairs than now come.
        """
        own = self.earlier.head
        if model.get(LAMBDA) is not None:
            return replace(own, chosen={**own.chosen, LAMBDA: model[LAMBDA]})
        return self._open(own, splits)

    def solved_ridge(self, splits: PairSplits) -> Solved:
        """The same for the ridge that the head is compared with."""
        return self._open(self.earlier.ridge, splits)

    def _outnumbered(self, *new: Pairs) -> bool:
        return sum(map(len, new)) > len(self.earlier.pairs)

    def _open(self, solved: Solved, splits: PairSplits) -> Solved:
        """To be chosen again where there are more new pairs than the run had."""
        again = self.adds and self._outnumbered(splits.train, splits.validation)
        return replace(solved, chosen={**solved.chosen, LAMBDA: None}) if again else solved

    def new_pairs(self, splits: PairSplits, epochs: int | None = 0) -> tuple[Update, PairSplits]:
        """The splits without the pairs that the run was fitted on; `origin.notes` say what was left out.

        Where pairs are forgotten and no others come, the run's own stay in train and validation.

        Args:
            splits: the pairs.
            epochs: that the head is trained for after its closed form.

        Returns:
            The update, which knows whether it adds pairs, and the splits.

        Raises:
            DataError: if the vectors are of other models, or a split has nothing new.
        """
        check_same_models(self.run, self.artifact, self.earlier.head.kept.moments.teacher_mean.float(), splits)
        rows = [self._new_and_left(part) for part in splits.parts]
        seen = sum(int((~new).sum()) for new, _ in rows)
        own = self.forgotten is not None and not rows[0][0].any()
        if own:
            rows = [(left if place < 2 and not new.any() else new, left) for place, (new, left) in enumerate(rows)]
        parts = [
            part if new.all() else take_pairs(part, np.flatnonzero(new))
            for part, (new, _) in zip(splits.parts, rows, strict=True)
        ]
        whole = sum(map(len, splits.parts))
        if lacking := [
            name for name, part in zip(("train", "validation", "test"), parts, strict=True) if not len(part)
        ]:
            raise DataError(
                f"update={self.run}: {seen:,} of {whole:,} pairs are among those that its head was fitted on, and the "
                f"{lacking[0]} split has no other; expected new pairs in every split"
            )
        note = self._note(parts, seen, epochs, adds=not own)
        logger.info("update: %s", note)
        origin = replace(splits.origin, notes=(*splits.origin.notes, note))
        splits = replace(splits, train=parts[0], validation=parts[1], test=parts[2], origin=origin)
        return replace(self, adds=not own), splits

    def _new_and_left(self, part: Pairs) -> tuple[np.ndarray, np.ndarray]:
        """Which pairs the run was not fitted on, and which are not forgotten: both `(N,)` bool."""
        prints, gone = pair_fingerprints(part), self.forgotten
        left = np.ones(len(part), dtype=bool) if gone is None else ~np.isin(prints, gone.pairs)
        new = left & ~np.isin(prints, self.earlier.pairs)
        if part.texts is not None and (texts := training_fingerprints(self.run)) is not None:
            new &= ~seen_in_training(part.texts, texts)
        return new, left

    def _note(self, parts: Sequence[Pairs], seen: int, epochs: int | None, *, adds: bool) -> str:
        run, had = self.run.name, len(self.earlier.pairs)
        said = []
        if self.forgotten is not None:
            space = "" if self.earlier.head.kept.space is None else ", the space of the features"
            said.append(
                f"{len(self.forgotten.pairs):,} pairs are taken out of {run}, whose sums then hold {had:,}; what is "
                f"taken over beside these (λ, whitening, confidence{space}, the fingerprints of words) was made when "
                f"they were among them, and {run} itself still holds them"
            )
        if adds:
            held = "λ is chosen again, because there are more new pairs than old ones, and the rest"
            held = held if self._outnumbered(*parts[:2]) else "what was chosen there"
            said.append(
                f"{len(parts[0]):,} new training and {len(parts[1]):,} validation pairs are added to the {had:,} of "
                f"{run}; {held} holds, and the figures are of new pairs alone"
            )
            if seen:
                said.append(f"{seen:,} pairs are left out, because its head was fitted on them")
        else:
            said.append(
                "no new pairs are added; figures of the training and validation splits are of the run's own ones"
            )
        if epoch := self.artifact.meta.get("best_epoch"):
            said.append(f"its head was trained further (epoch {epoch:g}), which is no part of the sums")
        if epochs:
            said.append(f"training from there sees the {'new pairs' if adds else 'pairs of data='} alone")
        return "; ".join(said)

    def decides_better(self, splits: PairSplits) -> bool:
        """Whether the run had more held-out pairs to choose whitening and confidence on than there are now."""
        return not self.adds or self.earlier.validation > len(splits.validation)

    def parts(self, names: Collection[str]) -> dict[str, Part]:
        """The run's whitening and confidence, as far as they are named; confidence refers to no forgotten sentence."""
        parts = {name: self.artifact.parts[name] for name in names if name in self.artifact.parts}
        if isinstance(sure := parts.get(CONFIDENCE), ConfidenceEstimate) and self.forgotten is not None:
            sure = parts[CONFIDENCE] = copy.deepcopy(sure)
            sure.forget(torch.from_numpy(self.forgotten.students))
        return parts

    def whitening_record(self) -> WhiteningRecord | None:
        """How the run chose its whitening, where it did."""
        record = self.artifact.meta.get("whitening")
        if not record:
            return None
        reason = f"{record['reason']}; taken over from {self.run.name}, which had more held-out texts to choose on"
        return WhiteningRecord(**{**record, "tried": tuple(record["tried"]), "reason": reason})

    def sample(self, new: TrainingSample, pairs: int) -> TrainingSample:
        """A sample of all pairs, from the run's and one of this many new ones."""
        own = TrainingSample.load(self.run)
        if own is not None and self.forgotten is not None:
            own = own.without(self.forgotten.students)
        if own is None or not len(own.student):
            return new
        return own.joined(new, pairs / (pairs + len(self.earlier.pairs))) if self.adds else own

    def held_out(self, splits: PairSplits) -> HeldOutSample:
        """What later queries are compared with: texts that neither the run nor its new pairs were fitted on."""
        new, own = HeldOutSample.of(splits), HeldOutSample.load(self.run)
        if own is None or not self.adds:
            return new
        if self.forgotten is not None:
            own = own.without(self.forgotten.students)
        for part in (splits.train, splits.validation):
            for start in range(0, len(part), _ROWS_AT_ONCE):
                own = own.without(np.asarray(part.student[start : start + _ROWS_AT_ONCE], dtype=np.float32))
        return own.joined(new, len(splits.train) / (len(splits.train) + len(self.earlier.pairs)))


PARTS = {"whiten_by": WHITENING, "confidence": CONFIDENCE}

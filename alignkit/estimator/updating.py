"""Adds new pairs to a head whose run kept the sums of its own: what is taken over, and what is decided again."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from alignkit.artifact import CONFIDENCE, WHITENING, Artifact, load_artifact
from alignkit.errors import ArtifactError, ConfigError, DataError
from alignkit.head_files import find_head
from alignkit.heads.base import Part
from alignkit.metrics.alignment import sample_rows
from alignkit.pairs.base import Pairs, PairSplits
from alignkit.pairs.views import take_pairs
from alignkit.parts import settings_of_part
from alignkit.runs.earlier_fit import EarlierFit, Solved, pair_fingerprints
from alignkit.runs.fingerprints import seen_in_training, training_fingerprints
from alignkit.runs.training_sample import TrainingSample
from alignkit.runs.whitening_record import WhiteningRecord
from alignkit.setting_names import SIDES
from alignkit.vectors import cosine, l2_normalize

logger = logging.getLogger(__name__)

LAMBDA = "ridge_lambda"
# of what the head gives and the teacher's vectors, about the teacher's mean. Real pairs of one student and teacher are
# above .3 even on texts of another kind; vectors that have nothing to do with each other give 0
RELATED = 0.05
COMPARED = 1_000


@dataclass(frozen=True)
class Update:
    """A run that new pairs are added to.

    Attributes:
        run: its folder.
        artifact: its head.
        earlier: the sums that it kept.
    """

    run: Path
    artifact: Artifact
    earlier: EarlierFit

    @classmethod
    def of(cls, run: str | Path) -> Update:
        """Read a run.

        Raises:
            ConfigError: if it kept no sums.
            ArtifactError: if it holds no head, a damaged one, or the sums of another.
        """
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

    def solved(self, model: Mapping[str, Any]) -> Solved:
        """What the closed form goes on from: what was chosen holds, but for a λ that is given."""
        own = self.earlier.head
        return own if model.get(LAMBDA) is None else replace(own, chosen={**own.chosen, LAMBDA: model[LAMBDA]})

    def new_pairs(self, splits: PairSplits, epochs: int | None = 0) -> PairSplits:
        """The splits without the pairs that the run was fitted on; `origin.notes` say what was left out.

        Args:
            splits: the pairs.
            epochs: that the head is trained for after its closed form.

        Raises:
            DataError: if the vectors are of other models, or a split has nothing new.
        """
        self._check_models(splits)
        texts = training_fingerprints(self.run)
        parts, seen = [], 0
        for part in splits.parts:
            new = ~np.isin(pair_fingerprints(part), self.earlier.pairs)
            if texts is not None and part.texts is not None:
                new &= ~seen_in_training(part.texts, texts)
            seen += int((~new).sum())
            parts.append(part if new.all() else take_pairs(part, np.flatnonzero(new)))
        whole = sum(map(len, splits.parts))
        if lacking := [
            name for name, part in zip(("train", "validation", "test"), parts, strict=True) if not len(part)
        ]:
            raise DataError(
                f"update={self.run}: {seen:,} of {whole:,} pairs are among those that its head was fitted on, and the "
                f"{lacking[0]} split has no other; expected new pairs in every split"
            )
        note = (
            f"{len(parts[0]):,} new training and {len(parts[1]):,} validation pairs are added to the "
            f"{len(self.earlier.pairs):,} of {self.run.name}; what was chosen there holds, and the figures are of new "
            "pairs alone"
        )
        if seen:
            note += f"; {seen:,} pairs are left out, because its head was fitted on them"
        if epoch := self.artifact.meta.get("best_epoch"):
            note += f"; its head was trained further (epoch {epoch:g}), which is no part of the sums"
        if epochs:
            note += "; training from there sees the new pairs alone"
        logger.info("update: %s", note)
        origin = replace(splits.origin, notes=(*splits.origin.notes, note))
        return replace(splits, train=parts[0], validation=parts[1], test=parts[2], origin=origin)

    def _check_models(self, splits: PairSplits) -> None:
        widths = {"student": self.artifact.student_dim, "teacher": self.artifact.teacher_dim}
        known = {"student": self.artifact.student_identity, "teacher": self.artifact.teacher_identity}
        for side in SIDES:
            width = int(getattr(splits.train, side).shape[1])
            if width != widths[side]:
                raise DataError(
                    f"update={self.run}: its {side} gives {widths[side]}-d vectors, these pairs have {width}-d ones; "
                    "embed them with the same model"
                )
            if None not in (known[side], splits.origin.identity(side)) and known[side] != splits.origin.identity(side):
                raise DataError(
                    f"update={self.run}: these pairs are of another {side} than its head was fitted for; embed them "
                    "with the same model"
                )
        alike = self._relation(splits.train)
        if alike < RELATED:
            raise DataError(
                f"update={self.run}: what its head makes of these students has nothing in common with their teacher's "
                f"vectors (cosine about the mean {alike:.2f}); give vectors of the same student and teacher, row i of "
                "both the same sentence"
            )

    def _relation(self, pairs: Pairs) -> float:
        rows = sample_rows(len(pairs), COMPARED, 0).numpy()
        student, teacher = (np.asarray(side[rows], dtype=np.float32) for side in (pairs.student, pairs.teacher))
        mean = self.earlier.head.kept.moments.teacher_mean.float()
        aligned = torch.from_numpy(np.asarray(self.artifact.align(student, "document")))
        return float(cosine(l2_normalize(aligned) - mean, l2_normalize(torch.from_numpy(teacher)) - mean).mean())

    def decides_better(self, splits: PairSplits) -> bool:
        """Whether the run had more held-out pairs to choose whitening and confidence on than there are now."""
        return self.earlier.validation > len(splits.validation)

    def parts(self, names: Collection[str]) -> dict[str, Part]:
        """Those of the run's whitening and confidence that are named, where it has them."""
        return {name: self.artifact.parts[name] for name in names if name in self.artifact.parts}

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
        return new if own is None else own.joined(new, pairs / (pairs + len(self.earlier.pairs)))


PARTS = {"whiten_by": WHITENING, "confidence": CONFIDENCE}

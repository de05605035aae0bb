"""What is distilled, and what is refused before anything is computed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from alignkit.distillation.more_texts import MoreTexts
from alignkit.distillation.tokens import Tokenize, Tokens
from alignkit.distillation.trainable import check_layers_of_table, trainable
from alignkit.embedders.base import Embedder, Role
from alignkit.estimator.plan import fitter_of
from alignkit.pairs.base import PairSplits
from alignkit.runs.table_report import TableReport

# settings of the optimisation are those of training both together; the head alone has its own recipe
_OF_TUNING = ("batch_size", "lr", "weight_decay", "schedule", "warmup_fraction", "early_stop_patience")
_OF_BOTH = ("precision", "devices", "num_nodes", "strategy", "deterministic", "enable_progress_bar")


@dataclass(frozen=True)
class Task:
    """What is distilled, and where to.

    Attributes:
        settings: plain values, as in `conf/distill.yaml`.
        splits: texts with the teacher's vectors.
        leaks: what the leak check said.
        folder: of the run.
        make_teacher: builds the teacher; called only where it is asked for something.
        unlike: texts that the student is not trained for, and what they are called.
        resume: go on from what lies in the folder.
        more: training texts that were made up out of the others.
        tokenize: tokenises texts, in this process or by workers.
    """

    settings: Mapping[str, Any]
    splits: PairSplits
    leaks: str
    folder: Path
    make_teacher: Callable[[], Embedder]
    unlike: tuple[Sequence[str], str]
    resume: bool = False
    more: MoreTexts = MoreTexts()
    tokenize: Tokenize = Tokens.of

    @property
    def role(self) -> Role:
        """Whose prompt made the vectors."""
        return self.settings["data"].get("role", "document")

    @property
    def seed(self) -> int:
        """Of everything that is drawn."""
        return int(self.settings["seed"])

    @property
    def trains(self) -> bool:
        """Whether anything is trained beyond the closed form."""
        return self.settings["trainer"].get("max_epochs") != 0


@dataclass(frozen=True)
class Start:
    """The student before it is trained.

    Attributes:
        embedder: gives its vectors.
        table: how it was made; `None` where it was not made here.
    """

    embedder: Embedder
    table: TableReport | None = None


def check_task(settings: Mapping[str, Any], splits: PairSplits, student: Embedder | None) -> None:
    """Refuse what cannot work before anything is computed or written.

    Args:
        settings: as `Task` has them.
        splits: as `Task` has them.
        student: `None` where it will be made.

    Raises:
        ConfigError: if settings are incompatible, or the student cannot be trained.
    """
    if student is None:
        check_layers_of_table(settings["train_layers"], settings["lora"])
    else:
        trainable(student, train_layers=settings["train_layers"], lora=settings["lora"])
    if "candidates" in settings["model"]:
        return
    width = student.dim if student is not None else splits.train.teacher_dim
    train, held_out, test = (
        replace(part, student=np.broadcast_to(np.float32(0), (len(part), width))) for part in splits.parts
    )
    placeholder = PairSplits(train, held_out, test, splits.origin)
    for told in (settings, of_head_alone(settings)):
        fitter_of(told, settings["model"], None).check(placeholder)


def of_head_alone(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with which `train` would fit the head; without training there is no training of the head either."""
    trainer = {name: settings["trainer"][name] for name in _OF_BOTH if name in settings["trainer"]}
    trainer["max_epochs"] = 0 if settings["trainer"].get("max_epochs") == 0 else None
    return {**settings, **dict.fromkeys(_OF_TUNING), "trainer": trainer}

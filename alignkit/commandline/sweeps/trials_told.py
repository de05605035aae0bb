"""The end of a sweep: its leaderboard, with what became of every trial."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alignkit.commandline.leaderboards import measured_groups, write_leaderboard
from alignkit.commandline.sweeps.sweep_workers import AGAIN
from alignkit.comparing.found_runs import FoundRuns
from alignkit.errors import AlignkitError
from alignkit.runs.folder import METRICS

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial

# of a kind of end, how many are told in words
_TOLD = 3


def tell_all(study: Study, folder: Path, objective: str, time_embedding: bool) -> None:
    """Write and print the leaderboard.

    Args:
        study: finished.
        folder: of the sweep.
        objective: the figure that decided.
        time_embedding: whether students are timed.

    Raises:
        AlignkitError: if no trial was finished.
    """
    trials = [one for one in study.get_trials(deepcopy=False) if not one.user_attrs.get(AGAIN)]
    runs = {Path(str(one.user_attrs.get("folder"))): one for one in trials if one.state.name == "COMPLETE"}
    here = tuple(path for path in runs if (path / METRICS).is_file())
    remarks = list(_ends(trials))
    if same := sum(str(one.user_attrs.get("words", "")).startswith("as trial") for one in trials):
        remarks.append(f"{same} trial(s) drew the settings of another, and were not run again")
    if elsewhere := len(runs) - len(here):
        remarks.append(f"{elsewhere} finished trial(s) lie on another machine, or were removed, and are not shown")
    if not here:
        raise AlignkitError(f"no trial was finished whose run is here; {'; '.join(remarks)}")
    settings = {path: {name: shown(value) for name, value in runs[path].params.items()} for path in here}
    groups, more = measured_groups(FoundRuns(here, ()), objective, time_embedding=time_embedding, settings=settings)
    if len(groups) > 1 and any("seed" in one.params for one in trials):
        remarks.append("seed= also draws the split of the pairs; with data.seed=0 all trials have the same")
    title = f"Sweep of {len(trials)} trials by {objective}"
    told: dict[str, Any] = {"sweep": {"objective": objective, "direction": study.direction.name.lower(),
                                      "trials": [_json(one) for one in trials]}}  # fmt: skip
    write_leaderboard(folder, groups, title, [*remarks, *more], told)


def shown(value: object) -> str:
    """A value as people write it.

    >>> shown(0.0038322168504927897), shown(64), shown("mlp")
    ('0.003832', '64', 'mlp')
    """
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _ends(trials: Sequence[FrozenTrial]) -> Iterator[str]:
    """How many trials ended how, and the words of those that failed."""
    count = Counter(one.state.name for one in trials)
    named = {"COMPLETE": "finished", "PRUNED": "pruned", "FAIL": "failed", "RUNNING": "still running elsewhere"}
    counted = ", ".join(f"{count[state]} {name}" for state, name in named.items() if count[state])
    yield f"{len(trials)} trials: {counted}"
    failed = [one for one in trials if one.state.name == "FAIL"]
    for one in failed[:_TOLD]:
        yield f"trial {one.number} failed: {one.user_attrs.get('words')}"
    if len(failed) > _TOLD:
        yield f"{len(failed) - _TOLD} more failed; leaderboard.json has all of their words"


def _json(trial: FrozenTrial) -> dict[str, Any]:
    return {
        "number": trial.number,
        "state": trial.state.name.lower(),
        "settings": trial.params,
        "value": trial.value if trial.state.name == "COMPLETE" else None,
        "by_epoch": {str(step): value for step, value in sorted(trial.intermediate_values.items())},
        "words": trial.user_attrs.get("words") or None,
        "seconds": trial.user_attrs.get("seconds"),
    }

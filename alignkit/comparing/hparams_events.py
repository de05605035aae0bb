"""A leaderboard in TensorBoard: its HParams tab orders, filters and draws runs by settings, figures and cost."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from alignkit.comparing.leaderboard import Entry, Group
from alignkit.metrics.intervals import Interval


def write_hparams(groups: Sequence[Group], folder: Path) -> None:
    """Write a folder of events for each run, numbered by its place; `tensorboard --logdir` takes the folder.

    Args:
        groups: of one leaderboard.
        folder: made where it is missing.
    """
    from tensorboard.plugins.hparams import summary_v2

    for number, group in enumerate(groups, start=1):
        above = folder if len(groups) == 1 else folder / str(number)
        names = sorted({name for entry in group.entries for name in entry.settings} or {"model"})
        columns = {name: _typed([_setting(entry, name) for entry in group.entries]) for name in names}
        figures = [_figures(group, entry) for entry in group.entries]
        metrics = list(dict.fromkeys(name for found in figures for name in found))
        with _events(above) as write:
            write(
                summary_v2.hparams_config_pb(
                    hparams=[
                        summary_v2.HParam(name, summary_v2.Discrete(sorted(set(values))))
                        for name, values in columns.items()
                    ],
                    metrics=[summary_v2.Metric(name) for name in metrics],
                )
            )
        for place, (entry, found) in enumerate(zip(group.entries, figures, strict=True), start=1):
            run = f"{place:03d}"
            with _events(above / run) as write:
                settings = {name: values[place - 1] for name, values in columns.items()}
                write(summary_v2.hparams_pb(settings, trial_id=f"{run} {entry.run.name}"))
                for name, value in found.items():
                    write(_scalar(name, value))


def _figures(group: Group, entry: Entry) -> dict[str, float]:
    run = entry.run
    found: dict[str, float | None] = {f"test/{group.measure}": run.figures.get(group.measure)}
    if group.ordered_by != group.measure:
        found[group.ordered_by] = entry.quality
    found |= _ends(f"test/{group.measure}", run.interval(group.measure))
    share = run.share()
    found["share_of_teacher"] = None if share is None else share.value
    found |= _ends("share_of_teacher", share)
    if entry.cost is not None:
        found |= {"query_us": group.cost_us(entry), "head_us": entry.cost.head_us, "head_bytes": entry.cost.head_bytes}
    found["on_front"] = float(entry.on_front)
    return {name: float(value) for name, value in found.items() if value is not None}


def _ends(name: str, interval: Interval | None) -> dict[str, float | None]:
    return {} if interval is None else {f"{name} low": interval.low, f"{name} high": interval.high}


def _setting(entry: Entry, name: str) -> str:
    return entry.settings.get(name, entry.run.kind if name == "model" else "-")


def _typed(values: Sequence[str]) -> Sequence[Any]:
    """Numbers, where all of them are, so that TensorBoard draws them on an axis."""
    try:
        return [float(value) for value in values]
    except ValueError:
        return values


@contextlib.contextmanager
def _events(folder: Path) -> Iterator[Any]:
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    folder.mkdir(parents=True, exist_ok=True)
    writer = EventFileWriter(str(folder))
    try:
        yield lambda summary: writer.add_event(Event(wall_time=time.time(), step=0, summary=summary))
    finally:
        writer.close()


def _scalar(name: str, value: float) -> Any:
    from tensorboard.compat.proto.summary_pb2 import Summary

    return Summary(value=[Summary.Value(tag=name, simple_value=value)])

"""The command `export`: what is done once its words have been read."""

from __future__ import annotations

import contextlib
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from alignkit import __version__
from alignkit.artifact import load_artifact
from alignkit.commandline import build, plain
from alignkit.commandline.sides import complete_sides
from alignkit.commands.rules.export import PUSHED
from alignkit.embedders.base import Embedder
from alignkit.errors import HubError
from alignkit.exporters.base import Job, export_head, format_named, place_of
from alignkit.exporters.material import find_material
from alignkit.head_models import check_student
from alignkit.hub.fetching import head_path
from alignkit.hub.pushing import Destination, Pushed, check_destination, push_folder
from alignkit.setting_names import SIDES

# settings that only some formats know
OPTIONS = ("router", "quantize")


def main(config: DictConfig) -> None:
    """Compose, export, say how well it agrees; put it on the Hub where that was asked for."""
    settings = plain(config, without=SIDES)
    options = {name: settings[name] for name in OPTIONS if settings[name] is not None}
    to = _destination(settings)
    name = settings["format"] or PUSHED[0]
    form = format_named(name, options)
    with contextlib.ExitStack() as opened:
        out = place_of(form, settings["out"] or opened.enter_context(_passing_place()))
        artifact = load_artifact(settings["head"])
        complete_sides(config, artifact, settings["head"])
        is_there = to is not None and check_destination(to)

        def make(side: str) -> Embedder:
            embedder: Embedder = build(config[side], side)
            opened.callback(embedder.close)
            return embedder

        def make_student() -> Embedder:
            student = make("student")
            check_student(artifact, student, settings["allow_student_mismatch"])
            return student

        given = settings["vectors"], settings["sentences"]
        material = find_material(artifact, make_student, *given, form.CARRIES_MODELS)
        job = Job(
            artifact=artifact,
            origin=head_path(settings["head"]),
            vectors=material.vectors,
            vectors_from=material.origin,
            texts=material.texts,
            student=material.student,
            teacher=make("teacher") if options.get("router") else None,
            role=settings["role"],
            options=options,
            repo=to.repo if to else None,
            licence=settings["license"],
        )
        manifest = export_head(name, job, out, settings["tolerance"])
        _say(summary(settings["out"] and out, manifest))
        if to is not None:
            _say(push_summary(_pushed(out, to, is_there, is_kept=settings["out"] is not None)))


@contextlib.contextmanager
def _passing_place() -> Iterator[Path]:
    """For an export that stays on the Hub alone."""
    with tempfile.TemporaryDirectory(prefix="alignkit-", ignore_cleanup_errors=True) as folder:
        yield Path(folder, "export")


def _say(lines: Iterable[str]) -> None:
    for line in lines:
        sys.stdout.write(f"{line}\n")


def _destination(settings: dict[str, Any]) -> Destination | None:
    told = {name: settings[name] for name in ("private", "revision", "create_pr")}
    return None if settings["push"] is None else Destination.of(settings["push"], **told)


def _pushed(folder: Path, to: Destination, is_there: bool, is_kept: bool) -> Pushed:
    try:
        return push_folder(folder, to, f"Head exported by alignkit {__version__}", is_there)
    except HubError as error:
        kept = f", and the export lies in {folder}: for another try, leave out= out or give another" if is_kept else ""
        raise HubError(f"{error}; none of its files was put there{kept}") from None


def summary(out: Path | None, manifest: dict[str, Any]) -> list[str]:
    """What was written and how well it agrees, in lines for stdout."""
    checked = manifest["verification"]
    lines = [
        f"{out or 'export'}: {manifest['format']}, {len(manifest['files'])} files",
        f"agrees with the head on {checked['vectors']} real vectors ({checked['vectors_from']}): largest difference "
        f"{checked['largest_difference']:.2g} (allowed {checked['tolerance']['largest_difference']:g}), smallest "
        f"cosine {checked['smallest_cosine']:.6f}",
    ]
    if manifest.get("quantize"):
        lines.append(f"{manifest['quantize']} loses {checked['overlap@10_loss']:.2%} of overlap@10")
    if manifest.get("needs_trust_remote_code"):
        lines.append("this head's code lies in the folder: load it with trust_remote_code=True")
    return lines


def push_summary(pushed: Pushed) -> list[str]:
    """Where it is, who sees it, and what loads it."""
    who = " (private)" if pushed.is_private else " (public: everybody can read it)"
    return [f"{pushed.url}{who}", f"load it with head={pushed.address}"]

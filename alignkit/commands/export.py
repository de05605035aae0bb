"""The command `export`: what is done once its words have been read."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from alignkit.aligned import check_student
from alignkit.artifact import load_artifact
from alignkit.commandline import build, plain
from alignkit.commandline.sides import complete_sides
from alignkit.embedders.base import Embedder
from alignkit.exporters.base import Job, export_head, format_named, place_of
from alignkit.exporters.material import find_material
from alignkit.setting_names import SIDES

# settings that only some formats know
OPTIONS = ("router", "quantize")


def main(config: DictConfig) -> None:
    """Compose, export, say how well it agrees."""
    settings = plain(config, without=SIDES)
    options = {name: settings[name] for name in OPTIONS if settings[name] is not None}
    form = format_named(settings["format"], options)
    out = place_of(form, settings["out"])
    artifact = load_artifact(settings["head"])
    complete_sides(config, artifact, settings["head"])

    with contextlib.ExitStack() as opened:

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
            origin=Path(settings["head"]).expanduser(),
            vectors=material.vectors,
            vectors_from=material.origin,
            texts=material.texts,
            student=material.student,
            teacher=make("teacher") if options.get("router") else None,
            role=settings["role"],
            options=options,
        )
        manifest = export_head(settings["format"], job, out, settings["tolerance"])
    for line in summary(out, manifest):
        sys.stdout.write(f"{line}\n")


def summary(out: Path, manifest: dict[str, Any]) -> list[str]:
    """What was written and how well it agrees, in lines for stdout."""
    checked = manifest["verification"]
    lines = [
        f"{out}: {manifest['format']}, {len(manifest['files'])} files",
        f"agrees with the head on {checked['vectors']} real vectors ({checked['vectors_from']}): largest difference "
        f"{checked['largest_difference']:.2g} (allowed {checked['tolerance']['largest_difference']:g}), smallest "
        f"cosine {checked['smallest_cosine']:.6f}",
    ]
    if manifest.get("quantize"):
        lines.append(f"{manifest['quantize']} loses {checked['overlap@10_loss']:.2%} of overlap@10")
    if manifest.get("needs_trust_remote_code"):
        lines.append("this head's code lies in the folder: load it with trust_remote_code=True")
    return lines

"""The command `check`: what is done once its words have been read."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Iterator
from pathlib import Path

from omegaconf import DictConfig
from rich.cells import set_cell_size
from rich.text import Text

from alignkit.checking.cache_findings import check_cache
from alignkit.checking.embedding import check_embedder
from alignkit.checking.findings import Finding, failure
from alignkit.checking.index_findings import check_engine, check_index
from alignkit.checking.machine import check_machine
from alignkit.commandline import build
from alignkit.commandline.named import sides_named
from alignkit.commandline.results import Screen
from alignkit.embedders.base import Embedder
from alignkit.errors import AlignkitError
from alignkit.language.speaking import say, told
from alignkit.setting_names import SIDES

COLOURS = {"ok": "green", "warning": "yellow", "failure": "bold red"}


def main(config: DictConfig) -> None:
    """Compose, look, print."""
    findings = []
    for finding in look(config):
        findings.append(finding)
        if config.format == "table":
            _print_line(finding)
    if config.format == "json":
        print(json.dumps([dataclasses.asdict(finding) for finding in findings], ensure_ascii=False, indent=2))  # noqa: T201
    if any(finding.status == "failure" for finding in findings):
        sys.exit(1)


def look(config: DictConfig) -> Iterator[Finding]:
    """Every finding, as soon as it is there."""
    yield from check_machine(Path(config.cache_dir))
    # beside an index the defaults are not asked: nobody said that they made it
    has_index = config.get("index") is not None or config.index_file is not None
    named = sides_named() if has_index else SIDES
    if "teacher" not in named:
        yield from _check_index(config, None)
    for name in named:
        try:
            embedder = build(config[name], name)
        except AlignkitError as error:
            yield failure(name, error)
            if name == "teacher":
                yield from _check_index(config, None)
            continue
        try:
            yield from check_embedder(name, embedder)
            if name == "teacher":
                yield from _check_index(config, embedder)
        finally:
            embedder.close()
    yield from check_cache(config.cache_dir)


def _check_index(config: DictConfig, teacher: Embedder | None) -> Iterator[Finding]:
    if config.index_file is not None:
        yield from check_index(config.index_file, config.sentences, teacher, config.index_key)
    if config.get("index") is not None:
        try:
            index = build(config["index"], "index")
        except AlignkitError as error:
            yield failure("index", error)
            return
        with index:
            yield from check_engine(index, teacher)


def _print_line(finding: Finding) -> None:
    line = Text.assemble(
        (set_cell_size(say(finding.status), 8), COLOURS[finding.status]),
        (set_cell_size(told(say(finding.topic)), 18), "bold"),
        told(finding.message),
        *((" -> ", told(finding.fix)) if finding.fix else ()),
    )
    # never folded: one finding is one line, also in a pipe
    Screen(soft_wrap=True).print(line)

"""How every command starts: one place for Hydra, its quirks, help, logging and errors.

A command is a module with a verb's name:

    @command("train", examples=("python -m alignkit.train model=mlp",))
    def main(config: DictConfig) -> None: ...

Hydra composes `conf/<name>.yaml`; this wrapper adds what Hydra lacks: values that are paths need no quoting,
`student=NAME` selects an embedder, an `AlignkitError` is one line and exit code 1.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import logging
import os
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from alignkit import __version__
from alignkit.errors import AlignkitError, ConfigError

INTERRUPTED_EXIT_CODE = 130
# Hydra's own files and logs are off, so that a run folder holds what alignkit wrote and nothing else
HYDRA_SETTINGS = (
    "hydra.output_subdir=null",
    "hydra/job_logging=none",
    "hydra/hydra_logging=none",
    "hydra.run.dir=outputs/{name}/${{now:%Y-%m-%d_%H-%M-%S}}",
    "hydra.sweep.dir=outputs/{name}/${{now:%Y-%m-%d_%H-%M-%S}}",
    "hydra.sweep.subdir=${{hydra.job.num}}",
)
SECRET_KEY = re.compile(r"(?i)(api_?key|token|password|secret|authorization)$")
URL_PASSWORD = re.compile(r"(://)[^/@\s]+@")
# settings that go on to a library, which knows more names than our YAMLs
OPEN_NODES = ("trainer.",)
MOUNTED_GROUPS = {"student": "embedder@student", "teacher": "embedder@teacher"}

Task = Callable[[DictConfig], Any]


def conf_folder() -> Path:
    """The folder of YAMLs: inside the installed package, else beside the package in a checkout."""
    package = Path(__file__).resolve().parent
    packaged = package / "conf"
    return packaged if packaged.is_dir() else package.parent / "conf"


def command(name: str, examples: Sequence[str]) -> Callable[[Task], Callable[[], None]]:
    """Turn a function of one config into a command without arguments, fed by `sys.argv`.

    Args:
        name: of the command and of its YAML in `conf/`.
        examples: command lines for `--help`.
    """

    def decorate(task: Task) -> Callable[[], None]:
        @functools.wraps(task)
        def main() -> None:
            sys.exit(_run(name, examples, task))

        # wraps() would show Hydra and doctest the inner signature
        del main.__wrapped__
        return main

    return decorate


def _run(name: str, examples: Sequence[str], task: Task) -> int:
    _use_utf8()
    arguments = sys.argv[1:]
    if {"--help", "-h"} & set(arguments):
        print(help_text(name, task.__module__, examples))  # noqa: T201
        return 0
    if "--version" in arguments:
        print(f"alignkit {__version__}")  # noqa: T201
        return 0
    allow_lazy_help_strings()
    set_up_logging()
    original, folder = sys.argv, _RunFolder()
    full_error = os.environ.get("HYDRA_FULL_ERROR")
    # with it, Hydra hands exceptions on instead of printing its own report and leaving
    os.environ["HYDRA_FULL_ERROR"] = "1"

    @functools.wraps(task)
    def guarded(config: DictConfig) -> Any:
        folder.watch(Path(HydraConfig.get().runtime.output_dir))
        try:
            _set_threads(config.get("threads"))
            return task(config)
        except (AlignkitError, HydraException, OmegaConfBaseException) as error:
            raise _Stop(error) from None

    try:
        overrides = quote_overrides(arguments, mounted_groups(name))
        sys.argv = [original[0], *overrides, *_settings_not_in(overrides, name)]
        hydra.main(version_base="1.3", config_path=str(conf_folder()), config_name=name)(guarded)()
    except _Stop as stop:
        return _fail(explain_error(stop.error, name))
    except (HydraException, OmegaConfBaseException) as error:
        return _fail(explain_error(error, name))
    except KeyboardInterrupt:
        return _fail("interrupted", INTERRUPTED_EXIT_CODE)
    except BrokenPipeError:  # `alignkit … | head`
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
        return 0
    finally:
        sys.argv = original
        del os.environ["HYDRA_FULL_ERROR"]
        if full_error is not None:
            os.environ["HYDRA_FULL_ERROR"] = full_error
        folder.drop_if_empty()
    return 0


def _fail(message: str, code: int = 1) -> int:
    print(f"alignkit: {' '.join(message.split())}", file=sys.stderr)  # noqa: T201
    return code


class _Stop(BaseException):
    """Carries an error past Hydra, which would print a report of its own for any `Exception`."""

    def __init__(self, error: Exception) -> None:
        self.error = error


class _RunFolder:
    """Hydra makes the run folder before the task starts; a run that wrote nothing shall leave nothing."""

    def __init__(self) -> None:
        self._seen: list[Path] = []

    def watch(self, folder: Path) -> None:
        self._seen.append(folder)

    def drop_if_empty(self) -> None:
        for folder in self._seen:
            with contextlib.suppress(OSError):
                folder.rmdir()  # refuses, and so ends the climb, where anything was written
                folder.parent.rmdir()
                folder.parent.parent.rmdir()


def _set_threads(threads: int | None) -> None:
    if threads is None:
        return
    if not isinstance(threads, int) or threads < 1:
        raise ConfigError(f"threads={threads}: expected a whole number of at least 1")
    import torch

    torch.set_num_threads(threads)


def _use_utf8() -> None:
    # a Windows console's code page cannot print every sentence
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8", errors="replace")


def set_up_logging() -> None:
    """Send alignkit's own messages to stderr, others' only from WARNING on."""
    from rich.console import Console
    from rich.logging import RichHandler

    handler = RichHandler(console=Console(stderr=True), show_time=False, show_level=False, show_path=False)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[handler], force=True)
    logging.getLogger("alignkit").setLevel(logging.INFO)
    logging.captureWarnings(True)  # other libraries' deprecations are for developers, who run the tests
    logging.getLogger("py.warnings").setLevel(logging.ERROR)


def allow_lazy_help_strings() -> None:
    """Let Hydra 1.3 run on Python 3.14, whose argparse checks help strings and refuses Hydra's lazy one.

    Hydra 1.4 passes a string; this can go when it is required.
    """
    check = getattr(argparse.ArgumentParser, "_check_help", None)
    if check is None or getattr(check, "allows_lazy_help", False):
        return

    def check_help(parser: argparse.ArgumentParser, action: argparse.Action) -> None:
        if action.help is None or isinstance(action.help, str):
            check(parser, action)

    check_help.allows_lazy_help = True  # type: ignore[attr-defined]
    argparse.ArgumentParser._check_help = check_help  # type: ignore[attr-defined]


def quote_overrides(arguments: Iterable[str], mounted: Iterable[str] = ()) -> list[str]:
    """Quote the values that Hydra's grammar refuses, and spell the embedder groups as Hydra wants them.

    Args:
        arguments: the command line after the program's name.
        mounted: groups that this command mounts by another name (`student`, `teacher`).

    >>> quote_overrides(["data.student=short (1).npy", "seed=0", "student=static"], ["student"])
    ["data.student='short (1).npy'", 'seed=0', 'embedder@student=static']
    """
    arguments = list(arguments)
    sweep_flags = [argument for argument in arguments if argument in ("-m", "--multirun")]
    rest = [argument for argument in arguments if argument not in sweep_flags]
    # argparse takes overrides in one run only, so a flag in the middle has to move
    return sweep_flags[:1] + [_quote(argument, set(mounted), bool(sweep_flags)) for argument in rest]


def _quote(argument: str, mounted: set[str], sweeping: bool) -> str:
    key, equals, value = argument.partition("=")
    if argument.startswith("-") or not equals:
        return argument
    if key in mounted:
        key = MOUNTED_GROUPS[key]
    elif key.startswith(OPEN_NODES):
        key = f"++{key}"
    if value and not _parses(f"{key}={value}", sweeping):
        # inside Hydra's quotes a backslash is itself, unless a quote or the end follows
        value = "'" + re.sub(r"(\\*)('|$)", lambda m: m[1] * 2 + (r"\'" if m[2] else ""), value) + "'"
    return f"{key}={value}"


def _parses(override: str, sweeping: bool) -> bool:
    try:
        parsed = OverridesParser.create().parse_override(override)
    except HydraException:
        return False
    # "a,b.npy" parses as a sweep over two values; outside a sweep it can only be meant literally
    return sweeping or not parsed.is_sweep_override()


def _settings_not_in(overrides: list[str], name: str) -> list[str]:
    given = {override.partition("=")[0] for override in overrides}
    settings = [setting.format(name=name) for setting in HYDRA_SETTINGS]
    return [setting for setting in settings if setting.partition("=")[0] not in given]


def mounted_groups(name: str) -> list[str]:
    """The names under which a command mounts the group `embedder`."""
    text = (conf_folder() / f"{name}.yaml").read_text(encoding="utf-8")
    return [short for short, group in MOUNTED_GROUPS.items() if f"{group}:" in text]


def plain(config: DictConfig) -> dict[str, Any]:
    """The config as dicts, lists and plain values, interpolations resolved.

    Raises:
        ConfigError: if a setting without a default was not given.
    """
    try:
        return OmegaConf.to_container(config, resolve=True, throw_on_missing=True)  # type: ignore[return-value]
    except MissingMandatoryValue as error:
        raise ConfigError(f"{error.full_key} is not set; give it as {error.full_key}=...") from None


def without_secrets(settings: Any) -> Any:
    """A copy fit for files and logs: values of keys that hold secrets and passwords in URLs are starred out.

    >>> without_secrets({"api_key": "sk-1", "api_key_env": "KEY", "base_url": "http://me:pw@127.0.0.1/v1"})
    {'api_key': '***', 'api_key_env': 'KEY', 'base_url': 'http://***@127.0.0.1/v1'}
    """
    if isinstance(settings, dict):
        return {
            key: "***" if value and SECRET_KEY.search(str(key)) else without_secrets(value)
            for key, value in settings.items()
        }
    if isinstance(settings, list):
        return [without_secrets(value) for value in settings]
    return URL_PASSWORD.sub(r"\1***@", settings) if isinstance(settings, str) else settings


@functools.cache
def known_targets() -> frozenset[str]:
    """Every `_target_` that a YAML of alignkit names."""
    found: set[str] = set()
    for path in conf_folder().rglob("*.yaml"):
        found.update(re.findall(r"_target_:\s*(\S+)", path.read_text(encoding="utf-8")))
    return frozenset(found)


def explain_error(error: Exception, name: str) -> str:
    """One line: our own errors as they are; of Hydra's, which argument is wrong and what would be right."""
    text = str(error)
    if isinstance(error, AlignkitError):
        return text
    see = f"python -m alignkit.{name} --help lists the settings"
    if found := re.search(r"(?:Could not find|Could not load) '([\w@/]+)/([^']+)'", text):
        group = found[1].split("@")[0]
        return f"unknown {group} '{found[2]}'; choices: {', '.join(group_choices(group))}"
    if found := re.search(r"Could not override '([^']+)'", text):
        group = found[1].split("@")[0]
        if group_choices(group):
            return f"this command has no group '{found[1]}'; {see}"
        return f"unknown setting '{found[1]}'; {see}"
    if found := re.search(r"Error parsing override '([^'=]*)'", text):
        return f"'{found[1]}' is no setting; expected setting=value; {see}"
    if found := re.search(r"Missing mandatory value: (\S+)", text):
        return f"{found[1]} is not set; give it as {found[1]}=…"
    if isinstance(error, OmegaConfBaseException) and error.full_key:
        return f"{error.full_key}: {text.splitlines()[0]}; {see}"
    cause = error.__cause__
    if isinstance(cause, AlignkitError):  # raised by a part while Hydra built it
        return str(cause)
    return text.splitlines()[0] + (f": {str(cause).splitlines()[0]}" if cause and str(cause) else "") + f"; {see}"


def group_choices(group: str) -> list[str]:
    """Names of the YAMLs of a group, sorted; empty where there is no such group."""
    return sorted(path.stem for path in (conf_folder() / group).glob("*.yaml"))


def help_text(name: str, module: str, examples: Sequence[str]) -> str:
    """What `--help` prints: what the command is for, groups with choices, settings with defaults, examples."""
    settings = (conf_folder() / f"{name}.yaml").read_text(encoding="utf-8")
    summary = (sys.modules[module].__doc__ or "").strip()
    defaults = re.findall(r"^  - (?!_self_|override)([\w@/]+):\s*(\S+)", settings, flags=re.MULTILINE)
    groups = []
    for group, default in defaults:
        folder, _, mounted = group.partition("@")
        choices = ", ".join(group_choices(folder))
        groups.append(f"  {mounted or folder + '='}{'=' if mounted else ''}{choices}   (default {default})")
    body = settings.partition("_self_")[2].strip()
    sections = [summary]
    if groups:
        sections.append("Groups (one choice each, its settings as group.setting=value):\n" + "\n".join(groups))
    sections.append("Settings and their defaults:\n" + "\n".join(f"  {line}".rstrip() for line in body.splitlines()))
    sections.append("Examples:\n" + "\n".join(f"  {example}" for example in examples))
    sections.append(
        f"Hydra's own flags work too: -m (sweep over comma-separated values), --cfg job (show the whole config).\n"
        f"alignkit {__version__}"
    )
    return "\n\n".join(sections)

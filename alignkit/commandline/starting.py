"""How every command starts: flags and words are read, Hydra composes the config, an error is one line."""

from __future__ import annotations

import functools
import importlib
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from alignkit import __version__
from alignkit.commandline.composed import register_resolvers
from alignkit.commandline.conf import conf_folder
from alignkit.commandline.first_look import look_first
from alignkit.commandline.flags import SHOWING, split_flags
from alignkit.commandline.folders import CALLBACK, RunFolders, check_room, unusable
from alignkit.commandline.helping import help_text
from alignkit.commandline.mistakes import explain_error
from alignkit.commandline.mode import mode_by_flag
from alignkit.commandline.screen import readers_may_leave, set_up_logging, use_utf8, without_controls
from alignkit.commandline.stopping import termination_is_interruption
from alignkit.commandline.words import Reader, forget_passwords
from alignkit.credentials import redacted
from alignkit.errors import AlignkitError, ConfigError
from alignkit.setting_rules import check, whole

INTERRUPTED_EXIT_CODE = 130
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
# Hydra's own files and logs are off, so that a run folder holds what alignkit wrote and nothing else
HYDRA_SETTINGS = (
    "hydra.output_subdir=null",
    "hydra/job_logging=none",
    "hydra/hydra_logging=none",
    "hydra.sweep.dir=outputs/{name}/${{now:%Y-%m-%d_%H-%M-%S}}",
    "hydra.sweep.subdir=${{hydra.job.num}}",
)
RUN_FOLDER, NO_RUN_FOLDER = "hydra.run.dir=outputs/{name}/${{now:%Y-%m-%d_%H-%M-%S}}", "hydra.run.dir=."

Task = Callable[[DictConfig], Any]


@dataclass(frozen=True)
class Command:
    """A command as it is declared.

    Attributes:
        name: its own and that of its YAML in `conf/`.
        summary: what it is for, for `--help`.
        examples: command lines for `--help`.
        task: called with the composed config.
        texts: those of its own settings that are texts, which are taken letter for letter.
        other_names: name on the command line → name in the YAML.
        run_folder: whether it writes into a folder of its own for each run.
        completed: groups that the task completes where the config names none of their choices: their settings may
            then stand alone, as in `student.base_url=…`.
    """

    name: str
    summary: str
    examples: Sequence[str]
    task: Task
    texts: tuple[str, ...] = ()
    other_names: Mapping[str, str] = field(default_factory=dict)
    run_folder: bool = False
    completed: tuple[str, ...] = ()

    def __call__(self) -> int:
        """Run it with `sys.argv`; returns the exit code."""
        use_utf8()
        arguments = sys.argv[1:]
        with readers_may_leave():
            if {"--help", "-h"} & set(arguments):
                print(help_text(self.name, self.summary, self.examples))  # noqa: T201
                return 0
            if "--version" in arguments:
                print(f"alignkit {__version__}")  # noqa: T201
                return 0
            with termination_is_interruption():
                return self._run(arguments)
        return 0

    def _run(self, arguments: list[str]) -> int:
        secrets = _values_of_variables(arguments)
        set_up_logging(secrets)

        def fail(message: str, code: int = 1) -> int:
            # one line; spaces stay, for a path may hold several
            line = " ".join(without_controls(redacted(message, secrets)).splitlines())
            print(f"alignkit: {line}", file=sys.stderr)  # noqa: T201
            return code

        try:
            flags, words = split_flags(arguments)
            reader = Reader(self.name, self.texts, self.other_names, self.completed)
            own_yamls = bool({"--config-dir", "--config-path"} & set(flags))
            overrides = reader.overrides(words, "--multirun" in flags, own_yamls)
            with mode_by_flag(overrides, own_yamls):
                return self._compose(flags, overrides, secrets)
        except _Stop as stop:
            return fail(explain_error(stop.error, self.name))
        except (AlignkitError, HydraException, OmegaConfBaseException) as error:
            return fail(explain_error(error, self.name))
        except KeyboardInterrupt:
            return fail("interrupted", INTERRUPTED_EXIT_CODE)
        finally:
            RunFolders.drop_empty()
            forget_passwords()

    def _compose(self, flags: list[str], overrides: list[str], secrets: list[str]) -> int:
        """Let Hydra compose the config and call the task; it is driven through `sys.argv` and the environment."""
        original, started, process = sys.argv, False, os.getpid()

        @functools.wraps(self.task)
        def guarded(config: DictConfig) -> Any:
            nonlocal started
            # a distributed run starts its further processes with these words
            started, sys.argv = True, original
            if os.getpid() != process:  # a launcher's own
                set_up_logging(secrets)
            folder = Path(HydraConfig.get().runtime.output_dir)
            RunFolders.job_started(folder)
            try:
                _set_threads(config.get("threads"))
                if self.run_folder:
                    check_room(folder)
                with readers_may_leave():  # else Hydra calls it an error of the job
                    return self.task(config)
            except (AlignkitError, HydraException, OmegaConfBaseException) as error:
                raise _Stop(error) from None

        register_resolvers()
        sys.argv = [original[0], *flags, *overrides, *self._settings_not_in(overrides)]
        main = hydra.main(version_base="1.3", config_path=str(conf_folder()), config_name=self.name)(guarded)
        try:
            with _hydras_errors_raised(), _shown_without_secrets(bool(SHOWING & set(flags))):
                main()
        except (OSError, ValueError) as error:
            # some of Hydra's own errors are of these kinds too
            if started or isinstance(error, BrokenPipeError | HydraException | OmegaConfBaseException):
                raise
            if isinstance(error, ValueError) and "embedded null" not in str(error):  # what a NUL in a path gives
                raise ConfigError(explain_error(error, self.name)) from None
            raise ConfigError(unusable(getattr(error, "filename", None) or "hydra.run.dir", error)) from None
        finally:
            sys.argv = original
        return 0

    def _settings_not_in(self, overrides: Sequence[str]) -> list[str]:
        given = {override.partition("=")[0] for override in overrides}
        settings = (RUN_FOLDER if self.run_folder else NO_RUN_FOLDER, CALLBACK, *HYDRA_SETTINGS)
        return [setting.format(name=self.name) for setting in settings if setting.partition("=")[0] not in given]


def command(name: str, summary: str | None, examples: Sequence[str], **declared: Any) -> Callable[[], None]:
    """A command without arguments, fed by `sys.argv`; see `Command`.

    What it does is `main` of `alignkit.commands.<name>`, which is imported once the words have been read and looked
    at: help and mistakes need nothing of it.
    """

    def task(config: DictConfig) -> Any:
        look_first(name, config)
        return importlib.import_module(f"alignkit.commands.{name}").main(config)

    found = Command(name, summary or "", examples, task, **declared)

    def main() -> None:
        sys.exit(found())

    main.declared = found  # type: ignore[attr-defined]
    return main


class _Stop(BaseException):
    """Carries an error past Hydra, which would print a report of its own for any `Exception`."""

    def __init__(self, error: Exception) -> None:
        super().__init__(error)
        self.error = error


@contextmanager
def _hydras_errors_raised() -> Iterator[None]:
    """Hydra hands exceptions on, instead of printing a report of its own and leaving."""
    before = os.environ.get("HYDRA_FULL_ERROR")
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        yield
    finally:
        del os.environ["HYDRA_FULL_ERROR"]
        if before is not None:
            os.environ["HYDRA_FULL_ERROR"] = before


@contextmanager
def _shown_without_secrets(showing: bool) -> Iterator[None]:
    """`--cfg job --resolve` fills in passwords too; what it prints is kept back and starred out."""
    if not showing:
        yield
        return
    import contextlib
    import io

    with contextlib.redirect_stdout(io.StringIO()) as shown:
        yield
    print(redacted(shown.getvalue()), end="")  # noqa: T201


def _values_of_variables(arguments: Sequence[str]) -> list[str]:
    """Values of the environment variables that `…_env=` names: servers like to repeat a key that they refuse."""
    named = [word.partition("=")[2] for word in arguments if word.partition("=")[0].endswith("_env")]
    return [value for name in named if (value := os.environ.get(name, "").strip())]


def _set_threads(threads: int | None) -> None:
    if threads is None:
        return
    check({"threads": threads}, {"threads": whole(1)})
    # NumPy and torch ask for it as they are loaded, which may be still to come
    os.environ.update(dict.fromkeys(THREADS, str(threads)))
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(threads)

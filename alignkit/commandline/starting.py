"""How a command starts: flags and words are read, Hydra composes the config, an error is one line."""

from __future__ import annotations

import gc
import importlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from alignkit.commandline.composed import register_resolvers
from alignkit.commandline.conf import conf_folder
from alignkit.commandline.declaration import Command
from alignkit.commandline.first_look import look_first
from alignkit.commandline.flags import SHOWING, split_flags
from alignkit.commandline.folders import CALLBACK, RunFolders, check_room, unusable
from alignkit.commandline.given_words import running
from alignkit.commandline.listed_words import gathered
from alignkit.commandline.mistakes import explain_error
from alignkit.commandline.mode import mode_by_flag
from alignkit.commandline.pinned import pin_addresses
from alignkit.commandline.screen import readers_may_leave, set_up_logging, without_controls
from alignkit.commandline.stopping import termination_is_interruption
from alignkit.commandline.words import Reader, forget_passwords
from alignkit.credentials import redacted
from alignkit.errors import AlignkitError, ConfigError
from alignkit.language.speaking import ENGLISH, speaking
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

Task = Callable[[Command, DictConfig], Any]


def do(command: Command, config: DictConfig) -> Any:
    """The work of a command, by `main` of its module in `commands`, once its settings have been looked at."""
    look_first(command.name, config)
    pin_addresses(config)
    return importlib.import_module(f"alignkit.commands.{command.name}").main(config)


def start(command: Command, arguments: list[str], task: Task = do) -> int:
    """Run a command with the words of its command line.

    Args:
        command: as it is declared.
        arguments: the words.
        task: called with the command and the composed config.

    Returns:
        The exit code.
    """
    with termination_is_interruption(), _rarely_collecting():
        return _run(command, arguments, task)


@contextmanager
def _rarely_collecting() -> Iterator[None]:
    """Look for reference cycles every 10,000 new objects, not every 700.

    Imports make hundreds of thousands that all stay, and each time that they have grown by a quarter, all are looked
    through: with Lightning a second of processor time.
    """
    before = gc.get_threshold()
    gc.set_threshold(10_000, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


def _run(command: Command, arguments: list[str], task: Task) -> int:
    secrets = _values_of_variables(arguments)
    set_up_logging(secrets)

    def fail(message: str, code: int = 1) -> int:
        # one line; spaces stay, for a path may hold several
        line = " ".join(without_controls(redacted(message, secrets)).splitlines())
        print(f"alignkit: {line}", file=sys.stderr)  # noqa: T201
        return code

    try:
        flags, words = split_flags(arguments)
        if command.listed is not None:
            words = gathered(words, command.name, command.listed)
        _expect_multirun(flags, words)
        reader = Reader(command.name, command.texts, command.other_names, command.completed)
        own_yamls = bool({"--config-dir", "--config-path"} & set(flags))
        overrides = reader.overrides(words, "--multirun" in flags, own_yamls)
        with mode_by_flag(overrides, own_yamls), running(command.name, arguments):
            return _compose(command, task, flags, overrides, secrets)
    except Stop as stop:
        return fail(explain_error(stop.error, command.name))
    except (AlignkitError, HydraException, OmegaConfBaseException) as error:
        return fail(explain_error(error, command.name))
    except KeyboardInterrupt:
        return fail("interrupted", INTERRUPTED_EXIT_CODE)
    finally:
        RunFolders.drop_empty()
        forget_passwords()


def _compose(command: Command, task: Task, flags: list[str], overrides: list[str], secrets: list[str]) -> int:
    """Let Hydra compose the config and do the task; it is driven through `sys.argv` and the environment."""
    original, started, process = sys.argv, False, os.getpid()

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
            if command.run_folder:
                check_room(folder)
            # readers may leave: else Hydra calls it an error of the job
            with readers_may_leave(), speaking(config.language if command.speaks else ENGLISH):
                return task(command, config)
        except (AlignkitError, HydraException, OmegaConfBaseException) as error:
            raise Stop(error) from None

    register_resolvers()
    sys.argv = [original[0], *flags, *overrides, *_settings_not_in(command, overrides)]
    main = hydra.main(version_base="1.3", config_path=str(conf_folder()), config_name=command.name)(guarded)
    try:
        with _hydras_errors_raised(), _shown_without_secrets(bool(SHOWING & set(flags))):
            main()
    except (OSError, ValueError) as error:
        # some of Hydra's own errors are of these kinds too
        if started or isinstance(error, BrokenPipeError | HydraException | OmegaConfBaseException):
            raise
        if isinstance(error, ValueError) and "embedded null" not in str(error):  # what a NUL in a path gives
            raise ConfigError(explain_error(error, command.name)) from None
        raise ConfigError(unusable(getattr(error, "filename", None) or "hydra.run.dir", error)) from None
    finally:
        sys.argv = original
    return 0


def _settings_not_in(command: Command, overrides: Sequence[str]) -> list[str]:
    given = {override.partition("=")[0] for override in overrides}
    settings = (RUN_FOLDER if command.run_folder else NO_RUN_FOLDER, CALLBACK, *HYDRA_SETTINGS)
    return [setting.format(name=command.name) for setting in settings if setting.partition("=")[0] not in given]


class Stop(BaseException):
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


def _expect_multirun(flags: Sequence[str], words: Sequence[str]) -> None:
    """Refuse a sweeper without a sweep, which Hydra would not use, and say nothing.

    Raises:
        ConfigError: in that case.
    """
    named = [word for word in words if word.startswith("hydra/sweeper=")]
    by_mode = any(word.startswith("hydra.mode=") for word in words)
    if named and not by_mode and not {"--multirun", *SHOWING} & set(flags):
        raise ConfigError(f"{named[0]} is for a sweep; start it with -m")


def _values_of_variables(arguments: Sequence[str]) -> list[str]:
    """Values of the environment variables that `…_env=` names: servers like to repeat a key that they refuse."""
    named = [word.partition("=")[2] for word in arguments if word.partition("=")[0].endswith("_env")]
    return [value for name in named if (value := os.environ.get(name, "").strip())]


def _set_threads(threads: int | None) -> None:
    # A thread that waits for the others of its product spins before it sleeps, for GCC's OpenMP some 300,000 rounds:
    # beside busy neighbours, who delay the others, that takes five times the processor time and up to ten times the
    # time. A thousand take as little as none there, and on a quiet machine, where sleeping at once costs training in
    # small batches two thirds more time, they last until the others are done.
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    if threads is None:
        return
    check({"threads": threads}, {"threads": whole(1)})
    # NumPy and torch ask for it as they are loaded, which may be still to come
    os.environ.update(dict.fromkeys(THREADS, str(threads)))
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(threads)

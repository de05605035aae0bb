"""`train` in two processes that are forks of one that has imported everything: the imports take most of a small run."""

import contextlib
import multiprocessing
import os
import runpy
import sys
from pathlib import Path

from ports import quiet_port


def forks():
    """Where processes are forks of one that has imported everything: the same for all tests of this process."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["alignkit.commands.train", "alignkit.training.epochs", "alignkit.distillation.tuning", "sentence_transformers"]
    )
    return context


def train_by_two(folder, *settings, odd=None):
    """As a cluster starts them: both at once. What the first alone does before it starts another is not seen here.

    Args:
        folder: to run in.
        settings: of `train`.
        odd: called first in the second process; a function of this module.
    """
    context, port = forks(), quiet_port()
    ranks = [context.Process(target=_train, args=(rank, port, folder, settings, odd)) for rank in (0, 1)]
    for rank in ranks:
        rank.start()
    for rank in ranks:
        rank.join()
    printed = "".join((Path(folder) / f"rank{rank}").read_text(encoding="utf-8") for rank in (0, 1))
    assert [rank.exitcode for rank in ranks] == [0, 0], printed
    assert printed.count("head and report") == 1


def train_by_one_that_starts_another(folder, *settings):
    """As `python -m alignkit.train` does it, but that the other is a fork, too, which waits for its command.

    Returns:
        What both printed.
    """
    receiver, sender = multiprocessing.Pipe(duplex=False)
    both = [
        forks().Process(target=_start_another, args=(sender, folder, settings)),
        forks().Process(target=_be_started, args=(receiver, folder)),
    ]
    for one in both:
        one.start()
    sender.close()  # the first's alone: where it ends without a word the second sees it
    receiver.close()
    for one in both:
        one.join()
    printed = "".join((Path(folder) / f"rank{rank}").read_text(encoding="utf-8") for rank in (0, 1))
    assert [one.exitcode for one in both] == [0, 0], printed
    return printed


def _start_another(sender, folder, settings):
    from types import SimpleNamespace

    from lightning.pytorch.strategies.launchers import subprocess_script

    def start(command, env, cwd):
        sender.send((command, env, cwd))
        return SimpleNamespace(poll=lambda: None, send_signal=lambda number: None)

    subprocess_script.subprocess = SimpleNamespace(Popen=start)
    os.chdir(folder)
    _run_as_module(Path(folder) / "rank0", settings)


def _be_started(receiver, folder):
    (Path(folder) / "rank1").touch()
    command, env, cwd = receiver.recv()
    assert command[:3] == [sys.executable, "-m", "alignkit.train"], command
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd or folder)
    _run_as_module(Path(folder) / "rank1", command[3:])


def _run_as_module(printed, settings):
    sys.argv = ["alignkit train", *settings]
    os.fsync = lambda file: None  # as in the tests' own process
    with open(printed, "w", encoding="utf-8") as out:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
            runpy.run_module("alignkit.train", run_name="__main__", alter_sys=True)


def _train(rank, port, folder, settings, odd):
    os.environ.update(
        MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), WORLD_SIZE="2", NODE_RANK="0", LOCAL_RANK=str(rank)
    )
    os.chdir(folder)
    sys.argv = ["alignkit train", *settings]
    os.fsync = lambda file: None  # as in the tests' own process
    with open(f"rank{rank}", "w", encoding="utf-8") as out:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
            from alignkit import train

            if rank == 1 and odd is not None:
                odd()
            train.main()


def solve_nothing_and_draw_otherwise():
    """A second process in which a closed form fails and a random start is another."""
    import torch

    from alignkit.heads.low_rank import LowRankHead

    def solve(self, *given):
        raise RuntimeError("a second process solves")

    LowRankHead.solve = solve
    seed = torch.manual_seed
    torch.manual_seed = lambda number: seed(number + 1)

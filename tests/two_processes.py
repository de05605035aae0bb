"""`train` in two processes that are forks of one that has imported everything: the imports take most of a small run."""

import contextlib
import multiprocessing
import os
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


def train_and_start_another(folder, *settings):
    """As a user's command starts them: the first process starts the other when it is ready, with its own words.

    Args:
        folder: to run in.
        settings: of `train`.
    """
    # what the console script holds: the process that is started has nothing in common with this one
    command = Path(folder) / "alignkit_train.py"
    command.write_text("from alignkit.train import main\n\nmain()\n", encoding="utf-8")
    first = forks().Process(target=_run, args=(folder, "first", [str(command), *settings], None))
    first.start()
    first.join()
    printed = (Path(folder) / "first").read_text(encoding="utf-8")
    assert first.exitcode == 0, printed
    assert printed.count("head and report") == 1


def _train(rank, port, folder, settings, odd):
    os.environ.update(
        MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), WORLD_SIZE="2", NODE_RANK="0", LOCAL_RANK=str(rank)
    )
    _run(folder, f"rank{rank}", ["alignkit train", *settings], odd if rank == 1 else None)


def _run(folder, name, words, odd):
    os.chdir(folder)
    sys.argv = words
    os.fsync = lambda file: None  # as in the tests' own process
    with open(name, "w", encoding="utf-8") as out:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
            from alignkit import train

            if odd is not None:
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

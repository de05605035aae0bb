"""What four processes do together, for `test_team`: one start of them shows many facts."""

import functools
import os
import traceback

import numpy as np
import torch
import torch.distributed as dist

from alignkit.errors import AlignkitError
from alignkit.heads.kept_moments import go_on
from alignkit.heads.kernel import KernelHead
from alignkit.heads.kernel_mlp import KernelMlpHead
from alignkit.heads.linear import LinearHead
from alignkit.heads.local_mixture import LocalMixtureHead
from alignkit.heads.low_rank import LowRankHead
from alignkit.heads.mlp import MlpHead
from alignkit.heads.orthogonal import OrthogonalHead
from alignkit.heads.random_features import RandomFeaturesHead
from alignkit.pairs.base import Pairs
from alignkit.training.solver_batches import SolverBatches, teacher_mean
from alignkit.training.team import ALONE, Team

SIZE = 4
CPU = torch.device("cpu")
HEADS = {
    "linear": LinearHead,
    "low_rank": functools.partial(LowRankHead, rank=4),
    "orthogonal": OrthogonalHead,
    "mlp": functools.partial(MlpHead, hidden=8),
    "random_features": functools.partial(RandomFeaturesHead, features=32),
    "kernel": functools.partial(KernelHead, landmarks=32),
    "local_mixture": functools.partial(LocalMixtureHead, regions=3),
    "kernel_mlp": functools.partial(KernelMlpHead, landmarks=32, hidden=8),
}


class Read(np.ndarray):
    """Vectors that note which rows were read by slices, as a pass reads them."""

    def __new__(cls, vectors):
        made = np.asarray(vectors).view(cls)
        made.rows = set()
        return made

    def __array_finalize__(self, source):
        self.rows = set()

    def __getitem__(self, rows):
        if isinstance(rows, slice):
            self.rows.update(range(*rows.indices(len(self))))
        return np.asarray(self)[rows]


def pairs_of(count, seed, weights=False):
    """Pairs of one bent map."""
    generator, map_generator = np.random.default_rng(seed), np.random.default_rng(100)
    student = generator.normal(size=(count, 6)).astype(np.float32) + 2
    bent = np.tanh(student @ map_generator.normal(size=(6, 10)))
    teacher = (bent + 0.3 * generator.normal(size=bent.shape)).astype(np.float32)
    teacher /= np.linalg.norm(teacher, axis=1, keepdims=True)
    how_much = generator.uniform(0.2, 2, count) if weights else None
    return Pairs([str(row) for row in range(count)], student, teacher, weights=how_much)


def spoilt(pairs, row):
    """The same pairs with a vector that is not finite."""
    student = pairs.student.copy()
    student[row] = np.nan
    return Pairs(pairs.ids, student, pairs.teacher)


TRAIN, VALIDATION = pairs_of(501, 0), pairs_of(90, 1)


def solved(team, kind, *parts):
    """Cosines of what a head gives, and what it chose; `None` in all but the first process.

    Not its weights: of a kernel's features nearly any combination gives the same.
    """

    def solve(train):
        torch.manual_seed(0)
        head = HEADS[kind](6, 10)
        chosen = head.solve(train, SolverBatches(VALIDATION, device=CPU))
        aligned = head.eval()(torch.from_numpy(VALIDATION.student)).detach()
        cosines = torch.nn.functional.cosine_similarity(aligned, torch.from_numpy(VALIDATION.teacher))
        return {"cosines": cosines, **{name: torch.tensor(value) for name, value in chosen.items()}}

    return team.led(list(parts), CPU, solve)


def gone_on(team):
    """A head whose sums gain further pairs, and whose λ is chosen again."""

    def solve(new):
        head = LinearHead(6, 10)
        chosen, kept = head.solve_keeping(SolverBatches(TRAIN, device=CPU), SolverBatches(VALIDATION, device=CPU))
        chosen, kept = go_on(head, kept, {"ridge_lambda": None}, new, SolverBatches(VALIDATION, device=CPU))
        return {**head.state_dict(), **kept.tensors(), "chosen": torch.tensor(chosen["ridge_lambda"])}

    return team.led([pairs_of(333, 2)], CPU, solve)


def facts(team):
    """Everything that one process and several must agree on, by name."""
    found = {kind: solved(team, kind, TRAIN) for kind in HEADS}
    found["two parts"] = solved(team, "linear", TRAIN, VALIDATION)
    found["weights"] = solved(team, "random_features", pairs_of(401, 3, weights=True))
    found["fewer pairs than processes"] = solved(team, "linear", pairs_of(3, 4))
    found["further pairs"] = gone_on(team)
    for name, pairs in (("mean", TRAIN), ("weighted mean", pairs_of(401, 3, weights=True))):
        mean = team.led([pairs], CPU, teacher_mean)
        found[name] = None if mean is None else {"mean": mean}
    return found


def alone():
    """The facts in one process."""
    return facts(ALONE)


def together(rank, address, folder):
    """The facts in four, and what is said when one of them fails; each process leaves a file."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=address, rank=rank, world_size=SIZE)
    team = Team(rank, SIZE, dist.group.WORLD)
    left = {"facts": facts(team), "drawn": team.first(lambda: {"a": float(torch.rand(()))}), "said": {}}
    read = Read(TRAIN.student)
    team.led([Pairs(TRAIN.ids, read, TRAIN.teacher)], CPU, lambda train: LinearHead(6, 10).solve(train, chosen={
        "ridge_lambda": 1e-3}))  # fmt: skip
    left["rows"] = sorted(read.rows)
    for name, failing in {
        "spoilt share": lambda: solved(team, "linear", spoilt(TRAIN, 300)),
        "failing first": lambda: team.first(lambda: spoilt(TRAIN, 900)),
    }.items():
        try:
            failing()
        except (AlignkitError, IndexError, SystemExit) as error:
            left["said"][name] = (type(error).__name__, str(error))
    torch.save(left, f"{folder}/{rank}.pt")
    try:
        team.led([TRAIN], CPU, functools.partial(_die_in_the_third, rank))
    except AlignkitError:
        left["said"]["lost"] = traceback.format_exc(limit=0)
        torch.save(left, f"{folder}/{rank}.pt")


def _die_in_the_third(_, train):
    from alignkit.heads.sums import summed

    return summed(train, _Dying.of)


class _Dying:
    @classmethod
    def of(cls, train):
        if dist.get_rank() == 2:
            os._exit(1)
        return cls()

    def all_reduce(self):
        return self

"""What each part does in a second on a GPU, beside the card's own matrix product in the same run.

    python tests/bench/gpu.py FOLDER [pairs=400000 student_dim=896 teacher_dim=3584 batch=65536 queries=10000
        corpus=1000000 features=4096 device=cuda commands=1]

FOLDER gets the made-up files (float16, 17 GB at the usual size) and keeps them for the next run. Under five minutes on
one card. Every part is checked against the CPU on some rows, so that no figure is of wrong numbers.
"""

import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

from alignkit.artifact import QUERY_HEAD, Artifact
from alignkit.evaluation.comparison import compare
from alignkit.evaluation.rankings import corpus_on
from alignkit.heads.base import Head
from alignkit.heads.linear import LinearHead
from alignkit.heads.mlp import MlpHead
from alignkit.heads.moments import Moments
from alignkit.heads.random_features import RandomFeaturesHead
from alignkit.losses.cos_mse import CosMseLoss
from alignkit.losses.mse import MseLoss
from alignkit.losses.rank_kl import RankKlLoss
from alignkit.pairs.base import Origin, PairSplits
from alignkit.pairs.evaluation_set import EvaluationSet, Side
from alignkit.pairs.vectors import load_vectors
from alignkit.training.capacity import placed
from alignkit.training.device import Device, choose_device
from alignkit.training.epochs import Epochs
from alignkit.training.fit import Fitter
from alignkit.training.recipe import Recipe
from alignkit.training.solver_batches import SolverBatches
from alignkit.vectors import top_k

MADE_AT_ONCE, CHECKED_ROWS, CHECKED_QUERIES, EPOCHS, FEW_PAIRS = 50_000, 20_000, 20, 5, 300


@dataclass(frozen=True)
class Sizes:
    """How much is done."""

    pairs: int = 400_000
    student_dim: int = 896
    teacher_dim: int = 3584
    batch: int = 65_536
    queries: int = 10_000
    corpus: int = 1_000_000
    features: int = 4096
    device: str = "auto"
    commands: bool = True


class Clock:
    """Seconds of what a device does, and the table of them."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.seconds: dict[str, float] = {}

    def wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def time(self, name: str, work: Callable[[], object], count: float = 0.0, unit: str = "") -> object:
        """Do it, and print how long it took and how much of what a second that is."""
        self.wait()
        started = time.perf_counter()
        result = work()
        self.wait()
        self.note(name, time.perf_counter() - started, count, unit)
        return result

    def note(self, name: str, seconds: float, count: float = 0.0, unit: str = "") -> None:
        self.seconds[name] = seconds
        rate = f"{count / seconds:14,.1f} {unit}" if count else ""
        print(f"{name:58s}{seconds:10.4f} s{rate}", flush=True)


def main(folder: Path, sizes: Sizes) -> dict[str, float]:
    """Print the table; returns its seconds by name."""
    chosen = choose_device(sizes.device)
    device, clock = chosen.torch_device, Clock(chosen.torch_device)
    print(f"{chosen.reason}; torch {torch.__version__}", flush=True)
    student, teacher = make(folder, "pairs", sizes.pairs, sizes, device)
    of_corpus = make(folder, "corpus", sizes.corpus, sizes, device)
    of_card(clock, sizes)
    splits = clock.time("load, check, split", lambda: load_vectors(str(student), str(teacher)), sizes.pairs, "pairs/s")
    assert isinstance(splits, PairSplits)
    on_device = clock.time("place on the device", lambda: placed(splits, device), bytes_of(splits) / 1e9, "GB/s")
    assert isinstance(on_device, PairSplits)
    linear = of_closed_forms(clock, chosen, on_device, sizes)
    of_epochs(clock, chosen, on_device, sizes, linear)
    of_searches(clock, on_device, of_corpus, sizes, linear)
    if sizes.commands:
        of_commands(clock, folder, student, teacher, sizes)
    return clock.seconds


def of_card(clock: Clock, sizes: Sizes) -> None:
    """What this device does at best: a product of a batch, a copy."""
    given = torch.randn(sizes.batch, sizes.student_dim, device=clock.device)
    weight = torch.randn(sizes.student_dim, sizes.teacher_dim, device=clock.device)
    work = 2e-12 * sizes.batch * sizes.student_dim * sizes.teacher_dim
    for name, dtype in (("float32", torch.float32), ("bfloat16", torch.bfloat16), ("float16", torch.float16)):
        first, second = given.to(dtype), weight.to(dtype)
        first @ second
        clock.time(f"card: product of a batch, {name}", partial(torch.matmul, first, second), work, "TFLOP/s")
    other = torch.empty(sizes.batch, sizes.teacher_dim, device=clock.device)
    whole = torch.randn_like(other)
    clock.time("card: copy of a batch", lambda: other.copy_(whole), 8e-9 * whole.numel(), "GB/s")


def of_closed_forms(clock: Clock, device: Device, splits: PairSplits, sizes: Sizes) -> LinearHead:
    """Moments, and whole fits without an epoch: λ chosen on validation, refit on both."""
    train, count = SolverBatches(splits.train, device=device.torch_device), len(splits.train)
    width = splits.train.student_dim * (splits.train.student_dim + splits.train.teacher_dim)
    clock.time("moments, the first pass", lambda: Moments.of(train))
    moments = clock.time("moments", lambda: Moments.of(train), 2e-12 * count * width, "TFLOP/s")
    check_moments(moments, splits)
    fitted = {}
    features = partial(RandomFeaturesHead, features=sizes.features)
    for name, make_head in (("ridge", LinearHead), ("random features", features)):
        job = Fitter(make_head, CosMseLoss(), Recipe(max_epochs=0), device, init="closed_form")
        fit = clock.time(f"{name}: fit and refit", partial(job.fit, splits), count, "pairs/s")
        print(f"    {', '.join(f'{step} {seconds:.2f}' for step, seconds in fit.seconds.items())}")  # type: ignore[attr-defined]
        fitted[name] = fit.head  # type: ignore[attr-defined]
    return fitted["ridge"]


def check_moments(moments: object, splits: PairSplits) -> None:
    """The same sums on the CPU in float64, of some rows."""
    few = SolverBatches(splits.train, device=torch.device("cpu"), chunk_rows=CHECKED_ROWS)
    student, teacher = next(iter(few))
    there = next(iter(SolverBatches(splits.train, device=moments.cross.device, chunk_rows=CHECKED_ROWS)))  # type: ignore[attr-defined]
    got = Moments.of([there]).centered()
    centred = student.double() - student.double().mean(dim=0)
    for name, side, found in (("gram", student, got.gram), ("cross", teacher, got.cross)):
        wanted = centred.T @ (side.double() - side.double().mean(dim=0))
        apart = float((found.cpu() - wanted).norm() / wanted.norm())
        print(f"    {name} of {len(student):,} pairs is {apart:.1e} from the CPU's in float64")
        assert apart < 1e-5


def of_epochs(clock: Clock, device: Device, splits: PairSplits, sizes: Sizes, start: LinearHead) -> None:
    """An epoch without validation: the time of several less that of one, beside a bare loop's."""
    bare = bare_epoch(clock, splits, sizes)
    clock.note("epoch of a bare loop, cos_mse", bare, len(splits.train), "pairs/s")
    mean = torch.zeros(splits.train.teacher_dim)
    shapes = splits.train.student_dim, splits.train.teacher_dim
    for name, head, loss in (
        ("linear, cos_mse", LinearHead(*shapes), CosMseLoss()),
        ("linear, mse", LinearHead(*shapes), MseLoss()),
        ("mlp, cos_mse", MlpHead(*shapes), CosMseLoss()),
    ):
        seconds = epoch_seconds(clock, device, splits, mean, head, loss, sizes.batch)
        clock.note(f"epoch of {name}", seconds, len(splits.train), "pairs/s")
        if name == "linear, cos_mse":
            print(f"    {seconds / bare:.2f} of the bare loop")
    seconds = epoch_seconds(clock, device, splits, mean, LinearHead(*shapes), RankKlLoss(), min(1024, sizes.batch))
    clock.note("epoch of linear, rank_kl at 1,024", seconds, len(splits.train), "pairs/s")


def epoch_seconds(
    clock: Clock, device: Device, splits: PairSplits, mean: torch.Tensor, head: Head, loss: torch.nn.Module, batch: int
) -> float:
    """Of one epoch, without what the trainer needs to start."""
    took = []
    for passes in (1, 1, 1 + EPOCHS):  # the first loads kernels
        recipe = Recipe(max_epochs=passes, batch_size=batch)
        epochs = Epochs(loss, recipe, device, 0, None, {"limit_val_batches": 0})
        clock.wait()
        started = time.perf_counter()
        epochs.again(head, splits, mean, passes)
        clock.wait()
        took.append(time.perf_counter() - started)
    return max(1e-9, (took[2] - took[1]) / EPOCHS)


def bare_epoch(clock: Clock, splits: PairSplits, sizes: Sizes) -> float:
    """What anybody would write: the fastest of three."""
    student, teacher = (
        torch.from_numpy(np.asarray(side[:])).to(clock.device) for side in (splits.train.student, splits.train.teacher)
    )
    head = LinearHead(sizes.student_dim, sizes.teacher_dim).to(clock.device)
    optimizer = torch.optim.AdamW(head.parameters(), fused=True)
    took = []
    for _ in range(4):
        clock.wait()
        started = time.perf_counter()
        for rows in torch.randperm(len(student), device=clock.device).split(sizes.batch):
            with torch.autocast(clock.device.type, torch.bfloat16, enabled=clock.device.type == "cuda"):
                aligned = head(student[rows].float())
            aligned, wanted = aligned.float(), torch.nn.functional.normalize(teacher[rows].float(), dim=1)
            cosines = torch.nn.functional.cosine_similarity(aligned, wanted)
            loss = (1 - cosines).mean() + 0.1 * torch.nn.functional.mse_loss(aligned, wanted)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        clock.wait()
        took.append(time.perf_counter() - started)
    return min(took)


def of_searches(clock: Clock, splits: PairSplits, files: tuple[Path, Path], sizes: Sizes, head: LinearHead) -> None:
    """The nearest 10 of every query in a corpus on disk, and the whole comparison of the head on them."""
    students, corpus = (np.load(path, mmap_mode="r") for path in files)
    asked = np.arange(0, sizes.corpus, -(-sizes.corpus // sizes.queries))
    queries = torch.from_numpy(np.asarray(corpus[asked], dtype=np.float32))
    queries += 0.01 * torch.randn(queries.shape, generator=torch.Generator().manual_seed(0))
    there = queries.to(clock.device)
    work = 2e-12 * len(asked) * len(corpus) * sizes.teacher_dim
    placing, name = f"place a corpus of {len(corpus):,}", f"search of {len(asked):,} in {len(corpus):,}"
    held = clock.time(placing, lambda: corpus_on(corpus, clock.device), 1e-9 * corpus.nbytes, "GB/s")
    found = clock.time(name, partial(top_k, there, held, 10), work, "TFLOP/s")  # type: ignore[arg-type]
    del held
    check_search(found, queries, corpus)  # type: ignore[arg-type]
    test = EvaluationSet(
        Side(np.asarray(students[asked]), np.asarray(corpus[asked])), Side(students, corpus), asked, origin=Origin()
    )
    whole = partial(compare, test, Artifact({QUERY_HEAD: head}), {"ridge": head}, device=clock.device)
    clock.time(f"comparison on {len(asked):,} in {len(corpus):,}", whole, len(asked), "queries/s")


def check_search(found: tuple[torch.Tensor, torch.Tensor], queries: torch.Tensor, corpus: np.ndarray) -> None:
    """The first 10 of some queries, by float64 on the CPU, among the rows that were found and some others."""
    scores, rows = (part[:CHECKED_QUERIES].cpu() for part in found)
    known = np.unique(np.concatenate([rows.numpy().ravel(), np.arange(min(2000, len(corpus)))]))
    others = torch.from_numpy(known)
    some = torch.nn.functional.normalize(torch.from_numpy(np.asarray(corpus[known])).double(), dim=1)
    best = torch.topk(torch.nn.functional.normalize(queries[: len(rows)].double(), dim=1) @ some.T, 10)
    assert torch.equal(others[best.indices], rows)
    assert float((best.values - scores).abs().max()) < 1e-6


def of_commands(clock: Clock, folder: Path, student: Path, teacher: Path, sizes: Sizes) -> None:
    """Whole commands, beside the same ones on a few pairs."""
    device = "cuda" if clock.device.type == "cuda" else "cpu"
    few = []
    for path in (student, teacher):  # what a command takes whatever the number of pairs: imports, pictures, the card
        few.append(folder / f"few_{path.name}")
        np.save(few[-1], np.load(path, mmap_mode="r")[:FEW_PAIRS])
    solved, trained = ["trainer.max_epochs=0"], [f"trainer.max_epochs={EPOCHS}", f"batch_size={sizes.batch}"]
    for name, files, words in (
        (f"train model=linear trainer.max_epochs=0, {FEW_PAIRS} pairs", few, solved),
        ("train model=linear trainer.max_epochs=0", [student, teacher], solved),
        (f"train, {EPOCHS} epochs, {FEW_PAIRS} pairs", few, trained),
        (f"train, {EPOCHS} epochs", [student, teacher], trained),
    ):
        given = ["data=vectors", f"data.student={files[0]}", f"data.teacher={files[1]}", f"device={device}"]
        command = [sys.executable, "-m", "alignkit.train", "model=linear", *given, *words]
        clock.time(name, partial(subprocess.run, command, cwd=folder, check=True, capture_output=True))


def make(folder: Path, name: str, count: int, sizes: Sizes, device: torch.device) -> tuple[Path, Path]:
    """Files of pairs: students of uneven spread, teachers a bent map of them with noise, rows of length 1."""
    paths = tuple(folder / f"{name}_{side}.npy" for side in ("student", "teacher"))
    widths = sizes.student_dim, sizes.teacher_dim
    if all(path.is_file() and np.load(path, mmap_mode="r").shape == (count, width)
           for path, width in zip(paths, widths, strict=True)):  # fmt: skip
        return paths[0], paths[1]
    torch.manual_seed(0)
    bend = torch.randn(*widths, device=device) / sizes.student_dim**0.5
    spread = torch.linspace(1, 0.05, sizes.student_dim, device=device)
    files = [
        np.lib.format.open_memmap(path, "w+", np.float16, (count, width))
        for path, width in zip(paths, widths, strict=True)
    ]
    for start in range(0, count, MADE_AT_ONCE):
        rows = min(MADE_AT_ONCE, count - start)
        student = torch.randn(rows, sizes.student_dim, device=device) * spread + 0.3
        teacher = torch.tanh(student @ bend) + 0.3 * torch.randn(rows, sizes.teacher_dim, device=device) + 0.1
        for file, side in zip(files, (student, torch.nn.functional.normalize(teacher, dim=1)), strict=True):
            file[start : start + rows] = side.half().cpu().numpy()
    return paths[0], paths[1]


def bytes_of(splits: PairSplits) -> int:
    """Of the vectors of all pairs, as they are stored."""
    sides = (side for pairs in splits.parts for side in (pairs.student, pairs.teacher))
    return sum(side.shape[0] * side.shape[1] * side.dtype.itemsize for side in sides)


if __name__ == "__main__":
    given = dict(word.split("=", 1) for word in sys.argv[2:])
    main(Path(sys.argv[1]), Sizes(**{name: value if name == "device" else int(value) for name, value in given.items()}))  # type: ignore[arg-type]

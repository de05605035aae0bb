"""A batch that does not fit into the memory: half of it is trained with, and whoever asked for the whole is told."""

import functools
import gc
import weakref
from types import SimpleNamespace

import pytest
import torch

from alignkit.errors import AlignkitError
from alignkit.heads.mlp import MlpHead
from alignkit.losses.cos_mse import CosMseLoss
from alignkit.training import half_batch
from alignkit.training.device import Device
from alignkit.training.fit import Fitter
from alignkit.training.half_batch import halving_once
from alignkit.training.recipe import Recipe
from alignkit.training.trainer import CHECKPOINTS

# what torch says on a GPU, in a product there, and on a CPU with and without Windows
OUT_OF_MEMORY = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:119] . DefaultCPUAllocator: can't allocate memory: you tried"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:81] data. DefaultCPUAllocator: not enough memory: you tried"),
]


@pytest.fixture(autouse=True)
def only_what_is_young_is_collected(monkeypatch):
    """A failed try is: to go through all that a worker of these tests holds takes a second."""
    monkeypatch.setattr(half_batch, "gc", SimpleNamespace(collect=lambda: gc.collect(1)))


class SmallMemory(CosMseLoss):
    """Has room for so many texts of a training step, and only after some steps too many."""

    def __init__(self, room, after=0):
        super().__init__()
        self.room, self.left = room, after

    def forward(self, aligned, teacher, negatives=None):
        if aligned.requires_grad and len(aligned) > self.room:
            self.left -= 1
            if self.left < 0:
                raise torch.OutOfMemoryError("CUDA out of memory")
        return super().forward(aligned, teacher, negatives)


def fitted(splits, loss, batch_size, run_folder=None):
    recipe = Recipe(batch_size=batch_size, max_epochs=3, lr=1e-2)
    device = Device("cpu", "32-true", "for the tests")
    head = functools.partial(MlpHead, hidden=32)
    return Fitter(head, loss, recipe, device, init="random", run_folder=run_folder).fit(splits, refit=True)


@pytest.mark.parametrize("after", [0, 7])
def test_a_head_is_trained_as_if_half_the_batch_had_been_asked_for(splits, caplog, tmp_path, after):
    halved = fitted(splits, SmallMemory(32, after), 64, tmp_path)
    assert "a batch of 64 does not fit" in caplog.text and "training with 32" in caplog.text
    expected = fitted(splits, CosMseLoss(), 32)
    assert halved.best_epoch == expected.best_epoch > 0 and halved.figures == expected.figures
    for one, other in ((halved.kept, expected.kept), (halved.head, expected.head)):
        assert all(torch.equal(value, other.state_dict()[name]) for name, value in one.state_dict().items())
    assert (halved.batch_size, fitted(splits, CosMseLoss(), 64).batch_size) == (32, 64)
    assert caplog.text.count("does not fit") == 1
    # only of the second try; a resumed run would mix the two
    steps = -(-len(splits.train) // 32)
    for path in (tmp_path / CHECKPOINTS).iterdir():
        assert torch.load(path, weights_only=True)["global_step"] % steps == 0


def test_what_half_does_not_fit_either_is_refused_in_one_line(splits):
    with pytest.raises(AlignkitError, match="a batch of 32 does not fit .*; take batch_size=16"):
        fitted(splits, SmallMemory(16), 64)


@pytest.mark.parametrize("error", OUT_OF_MEMORY)
def test_the_failed_try_is_gone_before_the_next(error):
    held = []

    def train(recipe):
        if recipe.batch_size == 8:
            activations = torch.zeros(8)
            held.append(weakref.ref(activations))
            raise type(error)(*error.args)
        gc.collect(1)
        assert held[0]() is None, "the frames of the error hold what took the memory"
        return recipe.batch_size

    assert halving_once(train, Recipe(batch_size=8), lambda: None) == 4


def test_a_batch_of_one_is_not_halved():
    def train(recipe):
        raise OUT_OF_MEMORY[0]

    with pytest.raises(AlignkitError, match="not even one text"):
        halving_once(train, Recipe(batch_size=1), lambda: None)


def test_other_errors_are_left_alone():
    def train(recipe):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="shapes"):
        halving_once(train, Recipe(batch_size=8), lambda: None)


def test_one_of_several_processes_says_what_to_do_instead(monkeypatch):
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)

    def train(recipe):
        assert recipe.batch_size == 8
        raise OUT_OF_MEMORY[0]

    with pytest.raises(AlignkitError, match="take batch_size=4"):
        halving_once(train, Recipe(batch_size=8), lambda: None)

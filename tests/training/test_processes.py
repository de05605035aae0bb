from types import SimpleNamespace

import pytest
import torch

from alignkit.errors import ConfigError
from alignkit.heads.mlp import MlpHead
from alignkit.losses.cosine import CosineLoss
from alignkit.training.batches import PairBatches
from alignkit.training.capacity import fits
from alignkit.training.module import AlignmentModule
from alignkit.training.processes import as_launched, is_main_process, local_device, start_at_once
from alignkit.training.recipe import Recipe
from alignkit.training.row_order import RowOrder

NAMES = (
    "RANK",
    "LOCAL_RANK",
    "NODE_RANK",
    "SLURM_PROCID",
    "SLURM_LOCALID",
    "SLURM_NTASKS",
    "WORLD_SIZE",
    "LOCAL_WORLD_SIZE",
    "TORCHELASTIC_RUN_ID",
)


@pytest.fixture
def environment(monkeypatch):
    """Sets the variables given, removes all others that name a process."""

    def set_variables(**values):
        for name in NAMES:
            monkeypatch.delenv(name, raising=False)
        for name, value in values.items():
            monkeypatch.setenv(name, value)

    set_variables()
    return set_variables


@pytest.mark.parametrize(
    ("values", "main"),
    [
        ({}, True),
        ({"RANK": "1"}, False),
        ({"LOCAL_RANK": "2"}, False),
        ({"SLURM_PROCID": "0"}, True),
        ({"NODE_RANK": "1", "LOCAL_RANK": "0"}, False),
    ],
)
def test_which_process_is_the_first(environment, values, main):
    environment(**values)
    assert is_main_process() is main


TORCHRUN = {"TORCHELASTIC_RUN_ID": "none", "RANK": "3", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2", "WORLD_SIZE": "4"}


@pytest.mark.parametrize(
    ("values", "settings", "at_once"),
    [
        ({}, {}, False),
        ({}, {"devices": 2}, False),  # the first starts the other
        ({"LOCAL_RANK": "1", "WORLD_SIZE": "2"}, {"devices": 2}, False),  # as it was started here
        ({}, {"devices": 2, "num_nodes": 2}, True),
        (TORCHRUN, {}, True),
        ({**TORCHRUN, "WORLD_SIZE": "1"}, {}, False),
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "4"}, {}, True),
        ({"SLURM_NTASKS": "4"}, {}, False),  # a shell within an allocation
    ],
)
def test_who_starts_at_once(environment, values, settings, at_once):
    environment(**values)
    assert start_at_once(settings) is at_once


def test_torchrun_says_how_many_there_are(environment):
    assert as_launched({"devices": 3}) == {"devices": 3}
    environment(**TORCHRUN)
    assert as_launched({}) == as_launched({"devices": "auto"}) == {"devices": 2, "num_nodes": 2}
    assert as_launched({"devices": 2, "max_steps": 3}) == {"devices": 2, "num_nodes": 2, "max_steps": 3}
    with pytest.raises(ConfigError, match="trainer.devices=4: torchrun started 2; leave trainer.devices out"):
        as_launched({"devices": 4})
    environment(**{**TORCHRUN, "WORLD_SIZE": "1", "LOCAL_WORLD_SIZE": "1"})
    assert as_launched({}) == {}


def test_each_process_has_a_gpu_of_its_own(environment, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    assert local_device("cpu") == torch.device("cpu")
    assert local_device("cuda") == torch.device("cuda", 0)
    environment(LOCAL_RANK="3")
    assert local_device("cuda") == torch.device("cuda", 3)


def test_where_pairs_are_kept_does_not_depend_on_what_else_is_on_the_gpu(monkeypatch, make_pairs):
    pairs, total = make_pairs(1000), []
    needed = 2 * 4 * 1000 * (12 + 20)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda *device: (0, 0))
    monkeypatch.setattr(
        torch.cuda, "get_device_properties", lambda gpu: type("Properties", (), {"total_memory": total[gpu]})
    )
    total[:] = [3 * needed, 3 * needed]
    assert fits((pairs, pairs), torch.device("cuda", 0))
    total[:] = [3 * needed, 2 * needed]  # the same answer on both
    assert not fits((pairs, pairs), torch.device("cuda", 0))


def test_each_process_drops_other_units_and_each_the_same_ones_again(make_pairs):
    pairs = make_pairs(64)
    batch = next(iter(PairBatches(pairs, 64, RowOrder(64, shuffle=False), epoch=int, device=torch.device("cpu"),
                                  in_memory=True)))  # fmt: skip
    torch.manual_seed(0)
    module = AlignmentModule(MlpHead(12, 20, hidden=64, dropout=0.5), CosineLoss(), torch.zeros(20), 1, Recipe())
    torch.nn.init.normal_(module.head.layers[-1].weight)  # from zero, nothing of a hidden unit would be seen
    losses = []
    for rank, epoch in ((0, 0), (1, 0), (0, 1), (1, 1), (0, 0), (1, 0)):
        module._trainer = SimpleNamespace(global_rank=rank, current_epoch=epoch, world_size=1, log_every_n_steps=0)
        losses.append(float(module.training_step(batch, 0).detach()))
    assert len(set(losses[:4])) == 4 and losses[4:] == losses[:2]

from types import SimpleNamespace

import pytest
import torch

from alignkit.errors import ConfigError
from alignkit.heads.mlp import MlpHead
from alignkit.losses.cosine import CosineLoss
from alignkit.training import processes
from alignkit.training.batches import PairBatches, RowOrder
from alignkit.training.capacity import fits
from alignkit.training.module import AlignmentModule
from alignkit.training.processes import hand_down, head_of_first_process, is_main_process, local_device
from alignkit.training.recipe import Recipe

NAMES = (
    "RANK",
    "LOCAL_RANK",
    "NODE_RANK",
    "SLURM_PROCID",
    "SLURM_LOCALID",
    "SLURM_NTASKS",
    "WORLD_SIZE",
    "TORCHELASTIC_RUN_ID",
)


@pytest.fixture
def environment(monkeypatch):
    """Sets the variables given, removes all others that name a process."""

    def set_variables(**values):
        for name in (*NAMES, processes.CHOSEN_HEAD):
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


def test_the_first_process_chooses_and_those_it_starts_do_as_it_did(environment, monkeypatch):
    environment()
    monkeypatch.setenv(processes.CHOSEN_HEAD, "of an earlier run")
    assert head_of_first_process() is None
    hand_down("low_rank")
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert head_of_first_process() == "low_rank"


@pytest.mark.parametrize(
    "values",
    [
        {"TORCHELASTIC_RUN_ID": "none", "RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "2"},
        {"TORCHELASTIC_RUN_ID": "none", "RANK": "1", "LOCAL_RANK": "1", "WORLD_SIZE": "2"},
        {"SLURM_PROCID": "0", "SLURM_NTASKS": "4"},
        {"SLURM_PROCID": "3", "SLURM_NTASKS": "4"},
    ],
)
def test_processes_that_start_at_once_do_not_choose(environment, values):
    environment(**values)
    with pytest.raises(ConfigError, match="cannot choose in several processes at once.*model=NAME"):
        head_of_first_process()


def test_a_single_process_under_a_launcher_chooses(environment):
    environment(TORCHELASTIC_RUN_ID="none", RANK="0", LOCAL_RANK="0", WORLD_SIZE="1")
    assert head_of_first_process() is None


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

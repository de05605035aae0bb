"""Whatever stands after `trainer.`: it works, or one line says what to write instead, before anything is written."""

import pytest

from alignkit.errors import ConfigError
from alignkit.heads.linear import LinearHead
from alignkit.losses.cos_mse import CosMseLoss
from alignkit.training.device import Device
from alignkit.training.fit import Fitter
from alignkit.training.recipe import Recipe
from alignkit.training.trainer import lightning_manners

CPU = Device("cpu", "32-true", "for the tests")


def fitter(device=CPU, **settings):
    return Fitter(LinearHead, CosMseLoss(), Recipe(batch_size=32), device, trainer_settings=settings)


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("val_check_interval", 1000, "trainer.val_check_interval=1000: an epoch has 10 batches; expected at most so"),
        ("val_check_interval", 0, "trainer.val_check_interval=0: expected a share above 0"),
        ("val_check_interval", 1.5, "trainer.val_check_interval=1.5: expected a share"),
        ("limit_val_batches", 0, "trainer.limit_val_batches=0: expected .*the state that is kept is chosen on valid"),
        ("limit_val_batches", 0.0, "trainer.limit_val_batches=0.0: expected"),
        ("limit_val_batches", 0.0001, "trainer.limit_val_batches=0.0001: no batch is left of 1; expected at least 1,"),
        ("limit_train_batches", 0, "trainer.limit_train_batches=0: expected .*trainer.max_epochs=0 trains nothing"),
        ("limit_train_batches", 0.0001, "trainer.limit_train_batches=0.0001: no batch is left of 10; expected at"),
        ("limit_train_batches", "all", "trainer.limit_train_batches=all: expected a share"),
        ("limit_train_batches", True, "trainer.limit_train_batches=True: expected a share"),
        ("log_every_n_steps", -1, "trainer.log_every_n_steps=-1: expected a whole number of steps"),
        ("log_every_n_steps", "often", "trainer.log_every_n_steps=often: expected"),
        ("max_steps", 0, "trainer.max_steps=0: expected .*trainer.max_epochs=0 trains nothing"),
        ("max_steps", "ten", "trainer.max_steps=ten: expected a whole number"),
        ("max_steps", 1.5, "trainer.max_steps=1.5: expected a whole number"),
        ("max_time", "soon", "trainer.max_time=soon: expected a time as DD:HH:MM:SS"),
        ("max_time", 90, "trainer.max_time=90: expected a time as DD:HH:MM:SS"),
        ("accumulate_grad_batches", 0, "trainer.accumulate_grad_batches=0: expected a whole number"),
        ("accumulate_grad_batches", None, "trainer.accumulate_grad_batches=null: expected a whole number"),
        ("gradient_clip_algorithm", "l1", "trainer.gradient_clip_algorithm=l1: expected norm or value"),
        ("check_val_every_n_epoch", 0, "trainer.check_val_every_n_epoch=0: expected a whole number"),
        ("strategy", "ddp_spawn", "trainer.strategy=ddp_spawn: expected auto or ddp"),
        ("strategy", "fsdp", "trainer.strategy=fsdp: expected auto or ddp"),
        ("strategy", "ddp_nonesuch", "trainer: .*ddp_nonesuch"),
        ("devices", 0, "trainer: .*devices=0"),
        ("devices", "many", "trainer: "),
        ("num_nodes", 0, "trainer.num_nodes=0: expected a whole number"),
        ("profiler", "nonesuch", "trainer: .*profiler"),
        ("deterministic", "maybe", "trainer.deterministic=maybe: expected true, false or warn"),
        ("detect_anomaly", "maybe", "trainer.detect_anomaly=maybe: expected true or false"),
        ("max_step", 4, "Trainer has no such argument; did you mean trainer.max_steps"),
        ("nonesuch", 1, "Trainer has no such argument; expected one of accumulate_grad_batches, "),
        ("accelerator", "gpu", "trainer.accelerator=gpu: not taken, the device is chosen by device=cpu, cuda or auto"),
        ("logger", "wandb", "trainer.logger=wandb: not taken, TensorBoard events and metrics.json"),
        ("callbacks", ["early"], "trainer.callbacks=.*not taken, a callback is code.*early_stop_patience= stops early"),
        ("plugins", "x", "not taken, a plugin is code"),
        ("enable_checkpointing", False, "not taken, checkpoints are what resume= goes on from"),
        ("use_distributed_sampler", True, "not taken, pairs are dealt out"),
        ("default_root_dir", "x", "not taken, the run folder is chosen by hydra.run.dir="),
        ("fast_dev_run", True, "not taken, a head trained on one batch is not a result"),
        ("barebones", True, "not taken, "),
        ("overfit_batches", 3, "not taken, .*trainer.limit_train_batches"),
        ("limit_test_batches", 3, "not taken, the test split is evaluated whole"),
    ],
)
def test_what_cannot_be_used_is_one_line_that_says_what_to_write(splits, name, value, says):
    with pytest.raises(ConfigError, match=says) as refused:
        fitter(**{name: value}).check(splits)
    assert "\n" not in str(refused.value) and "trainer" in str(refused.value)


@pytest.mark.parametrize("precision", ["nonesuch", "transformer-engine", "8"])
def test_a_precision_that_is_none_or_not_installed_is_one_line(splits, precision):
    with pytest.raises(ConfigError, match="trainer: ") as refused:
        fitter(Device("cpu", precision, "for the tests")).check(splits)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "settings",
    [
        {"val_check_interval": 1.0},
        {"val_check_interval": 10},
        {"check_val_every_n_epoch": None},
        {"val_check_interval": 1000, "check_val_every_n_epoch": None},
        {"val_check_interval": "00:00:00:05"},
        {"limit_val_batches": 1.0, "limit_train_batches": 1},
        {"limit_train_batches": 1000},
        {"log_every_n_steps": 0},
        {"max_steps": -1},
        {"max_time": "00:00:01:00", "min_steps": 1},
        {"devices": "auto", "strategy": "ddp"},
        {"enable_progress_bar": False, "deterministic": True, "benchmark": None, "profiler": None},
    ],
    ids=str,
)
def test_what_can_be_used_is_taken(splits, settings):
    fitter(**settings).check(splits)


def test_an_interval_counts_the_batches_that_are_left(splits):
    with pytest.raises(ConfigError, match="an epoch has 3 batches"):
        fitter(limit_train_batches=3, val_check_interval=5).check(splits)


def test_what_lightning_refuses_later_is_one_line_and_our_own_errors_stay_theirs():
    from lightning.pytorch import Trainer
    from lightning.pytorch.utilities.exceptions import MisconfigurationException

    with pytest.raises(ConfigError, match="trainer: no; not so; python -m"), lightning_manners(None):
        raise MisconfigurationException("no;\n not so.")
    with pytest.raises(ConfigError, match="trainer: "), lightning_manners(None):
        Trainer(barebones=True, logger=True)
    with pytest.raises(ValueError, match="of a head"), lightning_manners(None):
        raise ValueError("of a head")

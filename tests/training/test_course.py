"""A head that is not trained is judged without Lightning, and as Lightning would have it judged."""

import subprocess
import sys
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from alignkit.errors import ConfigError
from alignkit.heads.linear import LinearHead
from alignkit.heads.mlp import MlpHead
from alignkit.losses.cos_mse import CosMseLoss
from alignkit.losses.info_nce import InfoNceLoss
from alignkit.training import capacity
from alignkit.training.device import Device
from alignkit.training.fit import Fitter
from alignkit.training.recipe import Recipe

CPU = Device("cpu", "32-true", "for the tests")
# what only a `Trainer` knows, so that one is made; it changes nothing
LIGHTNING = {"profiler": None}


def fitter(make_head, **settings):
    loss = settings.pop("loss", CosMseLoss())
    return Fitter(make_head, loss, Recipe(max_epochs=0, batch_size=16), CPU, **settings)


@pytest.mark.parametrize("loss", [CosMseLoss(), InfoNceLoss(bank_size=32)])
@pytest.mark.parametrize(
    ("make_head", "init"), [(LinearHead, "closed_form"), (partial(MlpHead, hidden=16, dropout=0.5), "random")]
)
@pytest.mark.parametrize("streamed", [False, True])
def test_figures_of_the_starting_point_are_those_of_lightning(splits, monkeypatch, make_head, init, loss, streamed):
    monkeypatch.setattr(capacity, "IN_MEMORY_BYTES", 0 if streamed else 10**9)
    monkeypatch.setattr(capacity, "VALIDATION_BATCH", 25)  # several, the last one smaller
    own, lightnings = (
        fitter(make_head, init=init, loss=loss, trainer_settings=settings).fit(splits, refit=False)
        for settings in ({}, LIGHTNING)
    )
    assert (
        own.figures == pytest.approx(lightnings.figures, abs=1e-6) and own.figures.keys() == lightnings.figures.keys()
    )
    assert (own.best_epoch, own.epochs, own.ended) == (lightnings.best_epoch, lightnings.epochs, lightnings.ended)
    for name, weight in own.head.state_dict().items():
        assert weight.equal(lightnings.head.state_dict()[name])
    assert not own.head.training and not any(one.requires_grad for one in own.head.parameters())


def test_undefined_figures_are_left_out(splits):
    same = replace(splits.validation, teacher=np.repeat(splits.validation.teacher[:1], len(splits.validation), axis=0))
    found = fitter(LinearHead, init="closed_form").fit(replace(splits, validation=same), refit=False)
    assert "val/spearman" not in found.figures and "val/cosine_p50" in found.figures


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"max_epoch": 3}, "did you mean trainer.max_epochs"),
        ({"max_steps": 0}, "expected a whole number of steps"),
        ({"devices": "many"}, "trainer: "),
        ({"profiler": "nonesuch"}, "trainer: "),
    ],
)
def test_settings_without_effect_are_checked_all_the_same(splits, settings, says):
    with pytest.raises(ConfigError, match=says):
        fitter(LinearHead, init="closed_form", trainer_settings=settings).check(splits)


def test_a_closed_form_loads_neither_lightning_nor_torchs_compiler(tmp_path):
    """Seconds each, beside some three that the whole command takes."""
    student = np.random.default_rng(0).standard_normal((200, 8), dtype=np.float32)
    np.save(tmp_path / "student.npy", student)
    np.save(tmp_path / "teacher.npy", student @ np.random.default_rng(1).standard_normal((8, 12), dtype=np.float32))
    code = """
import sys, alignkit.train
data = ["data=vectors", "data.student=student.npy", "data.teacher=teacher.npy"]
sys.argv = ["train", "trainer.max_epochs=0", "html=false", "hydra.run.dir=run", *data]
try:
    alignkit.train.main()
except SystemExit as left:
    assert not left.code
heavy = {"lightning", "torchmetrics", "torch._dynamo", "matplotlib", "transformers", "sklearn", "pandas", "scipy.stats"}
print(sorted(heavy & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"
    assert (tmp_path / "run" / "head" / "head.safetensors").is_file()
    assert list((tmp_path / "run").glob("events.out.tfevents.*"))

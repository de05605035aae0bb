"""Every head that has a YAML can be trained with a student; a new one is tested the moment its YAML exists."""

import copy
from dataclasses import replace

import pytest
import torch

from alignkit.artifact import load_head, save_head
from alignkit.distillation.recipes import recipe_for
from alignkit.distillation.trainable import trainable
from alignkit.distillation.tuning import tune
from alignkit.embedders.distilled import DistilledEmbedder
from alignkit.embedders.sentence_transformer import SentenceTransformerEmbedder
from alignkit.embedders.table import TableEmbedder
from alignkit.heads.base import ClosedForm
from alignkit.losses.cosine import CosineLoss
from alignkit.parts import build_part, group_choices, settings_of_part
from alignkit.training.device import Device
from alignkit.training.solver_batches import SolverBatches

SMALL = {"hidden": 16, "features": 32, "landmarks": 32, "regions": 2}
HEADS = [name for name in group_choices("model") if name != "auto"]  # which is a choice among the others


def solved(name, splits):
    settings = settings_of_part("model", name, 0)
    settings = {key: SMALL.get(key, value) for key, value in settings.items() if key not in ("init", "recipe")}
    head = build_part(settings)(student_dim=splits.train.student_dim, teacher_dim=splits.train.teacher_dim)
    batches = (SolverBatches(pairs, device=torch.device("cpu")) for pairs in (splits.train, splits.validation))
    if isinstance(head, ClosedForm):
        head.solve(*batches)
    return head.eval().requires_grad_(False)


@pytest.mark.parametrize("name", HEADS)
def test_a_student_learns_under_any_head(name, table, make_splits, tmp_path):
    splits = make_splits(table)
    head, student = solved(name, splits), trainable(table)
    start, before = copy.deepcopy(student.state_dict()), copy.deepcopy(head)
    recipe = replace(recipe_for(student, head), max_epochs=2, batch_size=32, select_by="val/cosine_mean")
    result = tune(student, head, splits, loss=CosineLoss(), recipe=recipe, device=Device("cpu", "32-true", "test"),
                  seed=0, run_folder=None, student_lr=3e-2)  # fmt: skip
    assert result.improved, result.reason
    assert all(not torch.equal(value, start[key]) for key, value in student.state_dict().items())
    assert not any(one.requires_grad for one in result.head.parameters()) and not result.head.training
    # what the closed form fixes stays fixed, and the head is stored like any other
    fixed = {key for key, one in type(head)(**head.arguments()).named_parameters() if not one.requires_grad}
    for key, value in result.head.state_dict().items():
        assert key not in fixed or torch.equal(value, before.state_dict()[key]), key
    save_head(result.head, tmp_path / "head")
    vectors = torch.from_numpy(splits.test.student)
    assert torch.allclose(load_head(tmp_path / "head")(vectors), result.head(vectors), atol=1e-6)


def test_a_head_that_tells_its_layers_apart_has_the_rate_of_its_fastest(table, make_splits):
    splits, student = make_splits(table), trainable(table)
    rates = {name: recipe_for(student, solved(name, splits)).lr for name in ("linear", "kernel", "mlp")}
    assert rates == {"linear": 1e-4, "kernel": 1e-4, "mlp": 2e-3}


def test_a_table_that_fits_its_texts_already_is_trained_more_gently(table, make_splits, tmp_path):
    """Which its folder tells, so that it holds for a table from an earlier run too, made or trained there."""
    splits, student = make_splits(table), trainable(table)
    head = solved("mlp", splits)
    student.save(tmp_path / "untouched")
    with torch.no_grad():
        student.log_weights.add_(0.1)  # as training does
    student.save(tmp_path / "trained")
    trainable(TableEmbedder(tmp_path / "trained")).save(tmp_path / "again")
    for name, is_fitted in (("untouched", False), ("trained", True), ("again", True)):
        for embedder in (TableEmbedder, DistilledEmbedder, SentenceTransformerEmbedder):
            found = trainable(embedder(str(tmp_path / name)))
            assert found.is_fitted == is_fitted, (name, embedder)
            assert (found.rate < student.rate) == is_fitted
            assert (recipe_for(found, head).max_epochs < recipe_for(student, head).max_epochs) == is_fitted


@pytest.mark.parametrize("damaged", ["{", "[]", None])
def test_a_table_whose_settings_are_damaged_is_none_that_fits(table, tmp_path, damaged):
    trainable(table).save(tmp_path)
    settings = tmp_path / "config_sentence_transformers.json"
    settings.unlink() if damaged is None else settings.write_text(damaged, encoding="utf-8")
    assert not TableEmbedder(tmp_path).is_fitted

"""Every loss that has a YAML keeps what `losses/base.py` promises; a new one is tested the moment its YAML exists."""

import pytest
import torch
from hydra.utils import instantiate

from alignkit.commandline.conf import group_choices, yaml_of
from alignkit.errors import DataError
from alignkit.losses.base import Loss
from alignkit.training.recipe import Recipe
from alignkit.vectors import l2_normalize

NAMES = [name for name in group_choices("loss") if name != "auto"]  # which is a choice among the others


def make(name):
    settings = yaml_of("loss", name)
    settings.pop("recipe", None)
    return instantiate(settings)


def make_batch(count=12, dim=8, seed=0):
    generator = torch.Generator().manual_seed(seed)
    aligned, teacher = torch.randn(2, count, dim, generator=generator)
    negatives = l2_normalize(torch.randn(count, 3, dim, generator=generator))
    return (3 * aligned).requires_grad_(), l2_normalize(teacher), negatives


@pytest.mark.parametrize("name", NAMES)
def test_is_a_loss_with_a_recipe_that_training_knows(name):
    loss = make(name)
    assert isinstance(loss, Loss)
    assert isinstance(loss.needs_negatives, bool) and isinstance(loss.uses_negatives, bool)
    Recipe().overlay(yaml_of("loss", name).get("recipe"))


@pytest.mark.parametrize("name", NAMES)
def test_its_recipe_takes_a_random_start_somewhere(name):
    """Steps that are right for fine-tuning a closed form would leave a perceptron where it began."""
    own = yaml_of("model", "mlp")["recipe"]
    for init in ("random", "closed_form"):
        recipe = Recipe().overlay(yaml_of("loss", name).get("recipe"), init).overlay(own, init)
        assert recipe.lr >= 1e-3 and recipe.max_epochs >= 10 and recipe.weight_decay == own["weight_decay"]


@pytest.mark.parametrize("name", NAMES)
def test_is_a_finite_scalar_with_a_gradient(name):
    aligned, teacher, negatives = make_batch()
    for given in (None, negatives):
        aligned.grad = None
        value = make(name)(aligned, teacher, given)
        assert value.shape == () and value.isfinite()
        value.backward()
        assert aligned.grad.isfinite().all() and aligned.grad.abs().sum() > 0


@pytest.mark.parametrize("name", NAMES)
def test_the_teacher_itself_is_best(name):
    aligned, teacher, negatives = make_batch()
    loss = make(name)
    best = loss(teacher, teacher, negatives)
    assert best < loss(aligned, teacher, negatives)
    near = l2_normalize(teacher + 0.05 * aligned)
    assert best <= loss(near, teacher, negatives)


@pytest.mark.parametrize("name", NAMES)
def test_order_of_the_batch_does_not_matter(name):
    aligned, teacher, negatives = make_batch()
    order = torch.randperm(12, generator=torch.Generator().manual_seed(1))
    expected = make(name)(aligned, teacher, negatives)
    torch.testing.assert_close(make(name)(aligned[order], teacher[order], negatives[order]), expected)


@pytest.mark.parametrize("name", NAMES)
def test_it_says_whether_sentences_of_a_batch_are_compared(name):
    """Several processes take the mean of their losses where they are not; it must then be that of the whole batch."""
    aligned, teacher, negatives = make_batch()
    halves = [make(name)(aligned[rows], teacher[rows], negatives[rows]) for rows in (slice(6), slice(6, 12))]
    apart = (sum(halves) / 2).isclose(make(name)(aligned, teacher, negatives), rtol=1e-5)
    assert make(name).compares_batch is not bool(apart)


@pytest.mark.parametrize("name", NAMES)
def test_length_of_the_teacher_does_not_matter(name):
    aligned, teacher, negatives = make_batch()
    expected = make(name)(aligned, teacher, negatives)
    torch.testing.assert_close(make(name)(aligned, 7 * teacher, negatives), expected)


@pytest.mark.parametrize("name", NAMES)
def test_small_and_odd_batches(name):
    aligned, teacher, negatives = make_batch()
    zero = torch.zeros(2, 8, requires_grad=True)
    for rows in (aligned[:1], zero):
        value = make(name)(rows, teacher[: len(rows)], negatives[: len(rows)])
        value.backward()
        assert value.isfinite()
    assert zero.grad.isfinite().all()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "wrong",
    [
        {"aligned": torch.ones(12, 7)},
        {"aligned": torch.ones(1, 8)},
        {"teacher": torch.ones(8)},
        {"teacher": torch.ones(12, 1)},
        {"aligned": torch.ones(12, 3, 8), "teacher": torch.ones(12, 3, 8)},
        {"negatives": torch.ones(12, 8)},
        {"negatives": torch.ones(11, 3, 8)},
        {"negatives": torch.ones(12, 3, 7)},
    ],
    ids=lambda wrong: "-".join(f"{side}{tuple(vectors.shape)}" for side, vectors in wrong.items()),
)
def test_refuses_shapes_that_do_not_fit(name, wrong):
    """Most of them would broadcast to a number."""
    batch = {**dict(zip(("aligned", "teacher", "negatives"), make_batch(), strict=True)), **wrong}
    loss = make(name)
    for call in (lambda: loss(*batch.values()), lambda: loss(**batch)):
        with pytest.raises(DataError, match="expected aligned, teacher and negatives to have the shapes") as error:
            call()
        for vectors in wrong.values():
            assert str(tuple(vectors.shape)) in str(error.value)


@pytest.mark.parametrize("name", NAMES)
def test_refuses_an_empty_batch(name):
    """Its mean would be NaN."""
    with pytest.raises(DataError, match="the batch is empty; expected at least one pair"):
        make(name)(torch.ones(0, 8), torch.ones(0, 8))


@pytest.mark.parametrize("name", NAMES)
def test_trains(name):
    _, teacher, negatives = make_batch(64, 8)
    student = teacher @ torch.randn(8, 8, generator=torch.Generator().manual_seed(5))
    torch.manual_seed(0)
    head, loss = torch.nn.Linear(8, 8), make(name)
    optimizer = torch.optim.Adam(head.parameters(), lr=0.02)
    with torch.no_grad():
        before = float(loss.eval()(head(student), teacher, negatives))
    for _ in range(60):
        optimizer.zero_grad()
        loss.train()(head(student), teacher, negatives).backward()
        optimizer.step()
    with torch.no_grad():
        assert float(loss.eval()(head(student), teacher, negatives)) < before

"""Every head that has a YAML keeps what `heads/base.py` promises; a new one is tested the moment its YAML exists."""

import inspect
import json

import pytest
import torch
from hydra.utils import instantiate
from torch.utils.flop_counter import FlopCounterMode

from alignkit.artifact import load_head, save_head
from alignkit.commandline.conf import group_choices, yaml_of
from alignkit.errors import ConfigError
from alignkit.heads.base import ClosedForm, check_argument_types, head_class
from alignkit.heads.folding import fold_output
from alignkit.heads.streaming import EvenSample, TensorBatches, hold_out, sample_pairs, weights_of
from alignkit.setting_names import settings_under
from alignkit.training.recipe import Recipe
from alignkit.vectors import cosine, l2_normalize

# small enough to be quick, whatever the YAML's own size
SMALL = {"hidden": 16, "features": 32, "landmarks": 32, "regions": 2}
STUDENT_DIM, TEACHER_DIM = 12, 20


def settings_of(name):
    model = yaml_of("model", name)
    if "seed" in model:
        model["seed"] = 0  # which is that of the command
    recipe, init = model.pop("recipe", None), model.pop("init", None)
    return model, init, recipe


NAMES = [name for name in group_choices("model") if name != "auto"]  # which is a choice among the others


def make(name, student_dim=STUDENT_DIM, teacher_dim=TEACHER_DIM, **changes):
    model = settings_of(name)[0]
    model |= {key: value for key, value in (SMALL | changes).items() if key in model}
    torch.manual_seed(0)
    return instantiate(model)(student_dim=student_dim, teacher_dim=teacher_dim).eval()


def make_pairs(count, student_dim=STUDENT_DIM, teacher_dim=TEACHER_DIM, seed=0):
    generator = torch.Generator().manual_seed(100)
    mixing = torch.randn(student_dim, teacher_dim, generator=generator)
    generator = torch.Generator().manual_seed(seed)
    student = l2_normalize(torch.randn(count, student_dim, generator=generator) + 0.3)
    noise = 0.1 * torch.randn(count, teacher_dim, generator=generator)
    return student, l2_normalize(torch.tanh(student @ mixing) + noise + 0.2)


def solved(name, **changes):
    head = make(name, **changes)
    if isinstance(head, ClosedForm):
        head.solve(TensorBatches(*make_pairs(300), 64), TensorBatches(*make_pairs(60, seed=1)))
    return head.eval()


CLOSED_FORM = [name for name in NAMES if isinstance(make(name), ClosedForm)]


@pytest.mark.parametrize("name", NAMES)
def test_yaml_names_the_head_of_its_own_name(name):
    model, init, recipe = settings_of(name)
    assert model["_target_"].rpartition(".")[0] == f"alignkit.heads.{name}"
    assert isinstance(make(name), head_class(name))
    assert init == ("closed_form" if name in CLOSED_FORM else "random")
    Recipe().overlay(recipe)  # refuses settings that training does not know


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("student_dim", "teacher_dim"), [(12, 20), (20, 12), (7, 7)])
def test_maps_any_widths(name, student_dim, teacher_dim):
    head = make(name, student_dim, teacher_dim)
    assert head(torch.randn(5, student_dim)).shape == (5, teacher_dim)
    assert head(torch.randn(0, student_dim)).shape == (0, teacher_dim)


@pytest.mark.parametrize("name", NAMES)
def test_comes_back_from_disk(name, tmp_path):
    head = solved(name)
    arguments = json.loads(json.dumps(head.arguments()))
    assert arguments == head.arguments()
    student = make_pairs(40, seed=2)[0]
    save_head(head, tmp_path)
    torch.testing.assert_close(load_head(tmp_path)(student), head(student), rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_same_seed_same_head(name):
    student = make_pairs(20, seed=2)[0]
    assert torch.equal(solved(name)(student), solved(name)(student))


@pytest.mark.parametrize("name", NAMES)
def test_one_sentence_is_mapped_the_same_alone(name):
    head, student = solved(name), make_pairs(9, seed=2)[0]
    alone = torch.cat([head(row) for row in student.split(1)])
    # a matrix-vector kernel sums in another order than a matrix product: how far off depends on the chip
    torch.testing.assert_close(alone, head(student), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_takes_vectors_of_any_float_type(name, dtype):
    head, student = solved(name), make_pairs(9, seed=2)[0]
    aligned = head(student.to(dtype))
    assert aligned.dtype == torch.float32
    torch.testing.assert_close(aligned, head(student), rtol=0, atol=5e-3)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_trainable_gets_a_gradient(name):
    head = solved(name)
    student, teacher = make_pairs(16, seed=3)
    (1 - cosine(head.train()(student), teacher)).mean().backward()
    trainable = {key: weight for key, weight in head.named_parameters() if weight.requires_grad}
    assert trainable
    for key, weight in trainable.items():
        # behind a correction that starts at zero, the gradient is zero at first too
        assert weight.grad is not None and weight.grad.isfinite().all(), key
    assert any(weight.grad.abs().sum() > 0 for weight in trainable.values())


@pytest.mark.parametrize("name", NAMES)
def test_says_what_it_costs(name):
    head = make(name)
    cost = head.cost()
    assert cost["parameters"] == sum(tensor.numel() for tensor in head.state_dict().values())
    weights = sum(weight.numel() for weight in head.parameters() if weight.dim() == 2)
    assert cost["flops_per_query"] >= 2 * weights  # one multiplication and one addition a weight
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        head.eval()(torch.zeros(1, head.student_dim))
    assert cost["flops_per_query"] == counter.get_total_flops()


@pytest.mark.parametrize("name", NAMES)
def test_takes_in_an_affine_map_of_its_output(name):
    head, student = solved(name), make_pairs(30, seed=2)[0]
    generator = torch.Generator().manual_seed(7)
    weight, bias = torch.randn(TEACHER_DIM, TEACHER_DIM, generator=generator), torch.randn(TEACHER_DIM)
    before = head(student)
    folded = fold_output(head, weight, bias)
    torch.testing.assert_close(folded(student), before @ weight.T + bias, rtol=1e-4, atol=1e-4)
    assert torch.equal(head(student), before)
    assert type(folded) is type(head) and folded.cost() == head.cost() and folded.arguments() == head.arguments()


@pytest.mark.parametrize("name", NAMES)
def test_zero_vector_gives_finite_numbers(name):
    assert solved(name)(torch.zeros(1, STUDENT_DIM)).isfinite().all()


@pytest.mark.parametrize("name", CLOSED_FORM)
def test_closed_form_beats_the_random_start_and_the_mean(name):
    student, teacher = make_pairs(300, seed=4)
    mean = make_pairs(300)[1].mean(dim=0)
    aligned = cosine(solved(name)(student), teacher).mean()
    assert aligned > cosine(make(name)(student), teacher).mean() + 0.2
    assert aligned > cosine(mean.expand_as(teacher), teacher).mean() + 0.05


@pytest.mark.parametrize("name", CLOSED_FORM)
def test_once_more_with_what_was_chosen_is_the_same(name):
    train, held_out = TensorBatches(*make_pairs(200), 64), TensorBatches(*make_pairs(50, seed=1))
    first, second = make(name), make(name)
    chosen = first.solve(train, held_out)
    assert json.loads(json.dumps(chosen)) == chosen
    assert second.solve(train, chosen=chosen) == chosen
    student = make_pairs(9, seed=2)[0]
    torch.testing.assert_close(first(student), second(student), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", CLOSED_FORM)
def test_solves_without_validation_pairs(name):
    head = make(name)
    head.solve(TensorBatches(*make_pairs(200), 64))
    student, teacher = make_pairs(100, seed=4)
    torch.testing.assert_close(
        cosine(head(student), teacher).mean(), cosine(solved(name)(student), teacher).mean(), rtol=0, atol=0.05
    )


class CountedPasses(TensorBatches):
    """Counts how often somebody reads the pairs, and refuses to be read half."""

    def __init__(self, *pairs):
        super().__init__(*pairs, 64)
        self.passes = 0

    def __iter__(self):
        self.passes += 1
        return super().__iter__()


PASSES = {"one pass": 1, "two passes": 2, "three passes": 3}


def stated_passes(head):
    """What the docstring of the head's `solve` promises."""
    found = [count for words, count in PASSES.items() if words in inspect.getdoc(type(head).solve).lower()]
    assert len(found) == 1, f"{head.kind()}: solve's docstring does not say how many passes it takes over the pairs"
    return found[0]


@pytest.mark.parametrize("name", CLOSED_FORM)
@pytest.mark.parametrize("held_out_pairs", [60, 1100])
def test_reads_the_pairs_as_often_as_it_says(name, held_out_pairs):
    head, train, held_out = make(name), CountedPasses(*make_pairs(300)), CountedPasses(*make_pairs(held_out_pairs))
    chosen = head.solve(train, held_out)
    assert train.passes == stated_passes(head)
    assert held_out.passes <= 1
    again = CountedPasses(*make_pairs(300))
    make(name).solve(again, chosen=chosen)
    assert again.passes == stated_passes(head)


@pytest.mark.parametrize("name", CLOSED_FORM)
@pytest.mark.parametrize("count", [1, 2, 5, 19])
def test_solves_a_handful_without_validation_pairs(name, count):
    head = make(name)
    head.solve(TensorBatches(*make_pairs(count)))
    assert head(make_pairs(count)[0]).isfinite().all()


@pytest.mark.parametrize("name", CLOSED_FORM)
def test_chunks_make_no_difference(name):
    student, teacher = make_pairs(200)
    heads = make(name), make(name)
    chosen = heads[0].solve(TensorBatches(student, teacher, 200), TensorBatches(*make_pairs(50, seed=1)))
    heads[1].solve(TensorBatches(student, teacher, 17), chosen=chosen)
    torch.testing.assert_close(heads[0](student), heads[1](student), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", CLOSED_FORM)
def test_fewer_pairs_than_dimensions(name, caplog):
    student, teacher = make_pairs(8, student_dim=40, teacher_dim=30)
    head = make(name, 40, 30)
    head.solve(TensorBatches(student, teacher), TensorBatches(*make_pairs(5, 40, 30, seed=1)))
    assert cosine(head(student), teacher).mean() > 0.5
    assert name == "orthogonal" or "more pairs will help" in caplog.text


@pytest.mark.parametrize("name", CLOSED_FORM)
def test_constant_dimensions_and_constant_students(name):
    student, teacher = make_pairs(100)
    student[:, ::2] = 0.25
    for students in (student, torch.full_like(student, 0.5), torch.zeros_like(student)):
        head = make(name)
        head.solve(TensorBatches(students, teacher), TensorBatches(students[:20], teacher[:20]))
        assert head(students).isfinite().all()
    # nothing told the sentences apart: the teacher's mean is the best answer
    expected = teacher.mean(dim=0).expand_as(teacher)
    torch.testing.assert_close(head(students), expected, rtol=0, atol=2e-2)


@pytest.mark.parametrize("name", NAMES)
def test_refuses_numbers_that_are_not_above_zero(name):
    numbers = {"ridge_lambda", "bandwidth", "features", "landmarks", "regions", "softness", "hidden", "rank"}
    assert (own := numbers & settings_of(name)[0].keys()) or name == "orthogonal"
    for argument in own:
        for value in (0, -1):
            with pytest.raises(ConfigError, match=f"{argument}={value}"):
                make(name, **{argument: value})


def test_refuses_a_rank_over_the_width():
    with pytest.raises(ConfigError, match="rank=13: expected 1 to 12"):
        make("low_rank", rank=13)


def test_sample_is_spread_over_a_sorted_stream():
    rows = torch.arange(103.0).unsqueeze(1)
    batches = TensorBatches(rows, rows, 10)
    assert sample_pairs(batches, 20)[0].flatten().tolist() == list(range(0, 103, 6))
    assert len(sample_pairs(batches, 500)[0]) == 103


@pytest.mark.parametrize(("count", "expected"), [(95, 9), (20, 2), (19, 9), (2, 1)])
@pytest.mark.parametrize("batch_size", [1, 7, 200])
def test_held_out_pairs_are_apart_and_together_all(count, expected, batch_size):
    rows = torch.arange(float(count)).unsqueeze(1)
    sides = hold_out(TensorBatches(rows, rows, batch_size))
    fit, held_out = (torch.cat([student for student, _ in side]).flatten().tolist() for side in sides)
    assert sorted(fit + held_out) == list(range(count))
    assert len(held_out) == expected
    assert [len(side) for side in sides] == [len(fit), len(held_out)]


@pytest.mark.parametrize(
    ("kind", "arguments", "message"),
    [
        ("random_features", {"features": 2.5}, "model.features=2.5: expected a whole number"),
        ("random_features", {"bandwidth": "wide"}, "model.bandwidth=wide: expected a number or null"),
        ("low_rank", {"rank": True}, "model.rank=True: expected a whole number or null"),
        ("linear", {"ridge_lambda": "auto"}, "model.ridge_lambda=auto: expected a number or null"),
    ],
)
def test_arguments_of_another_type_are_refused_in_one_line(kind, arguments, message):
    with pytest.raises(ConfigError, match=message):
        with settings_under("model"):
            check_argument_types(head_class(kind), arguments)
    check_argument_types(head_class("random_features"), {"features": 8, "bandwidth": 1, "ridge_lambda": None})


@pytest.mark.parametrize("name", CLOSED_FORM)
def test_pairs_that_count_next_to_nothing_do_next_to_no_harm(name):
    own, others = make_pairs(200), make_pairs(200, seed=1)
    both = torch.cat([own[0], others[0]]), torch.cat([own[1], -others[1]])  # the others say the opposite

    def quality(*pairs, weights=None):
        head = make(name)
        head.solve(TensorBatches(*pairs, 64, weights=weights), TensorBatches(*make_pairs(60, seed=2)))
        student, teacher = make_pairs(60, seed=3)
        return float(cosine(head(student), teacher).mean().detach())

    alone, weighted = quality(*own), quality(*both, weights=torch.tensor([1.0, 1e-6]).repeat_interleave(200))
    assert weighted > alone - 0.03
    assert weighted > quality(*both) + 0.1


def test_a_sample_by_weight_keeps_what_counts_most_and_stands_for_all():
    weights = torch.tensor([1.0] * 30 + [0.01] * 1000)
    rows = torch.arange(1030.0).unsqueeze(1)
    sample = EvenSample(1030, 80, weights)
    for _ in sample.watch(TensorBatches(rows, rows, 64)):
        pass
    kept = sample.pairs()[0].flatten()
    assert kept[:30].tolist() == list(range(30)) and len(kept) == 80
    assert kept[30:].diff().max() <= 21  # the others are evenly spread
    assert sample.weights[:30].tolist() == [1.0] * 30
    torch.testing.assert_close(sample.weights.sum(), weights.double().sum(), rtol=1e-3, atol=0)


def test_held_out_pairs_take_their_weights_along():
    rows = torch.arange(100.0).unsqueeze(1)
    fit, held = hold_out(TensorBatches(rows, rows, 7, weights=rows.flatten()))
    for part in (fit, held):
        assert torch.equal(torch.cat([student for student, _ in part]).flatten(), weights_of(part))

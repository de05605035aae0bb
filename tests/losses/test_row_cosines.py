import pytest
import torch
import torch.nn.functional as F

from alignkit.losses.cos_mse import CosMseLoss
from alignkit.losses.cosine import CosineLoss
from alignkit.losses.row_cosines import cosine_and_square
from alignkit.rounding import cpu_rounds_products, products_in_bfloat16
from alignkit.vectors import l2_normalize


def batch(dtype=torch.float64, length=1.0):
    generator = torch.Generator().manual_seed(0)
    aligned = torch.randn(7, 5, dtype=dtype, generator=generator).requires_grad_()
    return aligned, length * torch.randn(7, 5, dtype=dtype, generator=generator)


@pytest.mark.parametrize("length", [1.0, 30.0])
@pytest.mark.parametrize("weight", [0.0, 0.1])
def test_value_and_gradient_are_those_of_autograd(weight, length):
    aligned, teacher = batch(length=length)
    teacher[2] = 0  # a zero row counts as far away, and pulls nowhere
    unit = l2_normalize(teacher)
    expected = (1 - F.cosine_similarity(aligned, unit, dim=-1)).mean() + weight * F.mse_loss(aligned, unit)
    found = cosine_and_square(aligned, teacher, weight / 5)
    assert found.item() == pytest.approx(expected.item(), abs=1e-12)
    (wanted,), (gradient,) = torch.autograd.grad(3 * expected, aligned), torch.autograd.grad(3 * found, aligned)
    assert torch.allclose(gradient, wanted, atol=1e-12)


def test_gradient_is_the_slope():
    aligned, teacher = batch()
    assert torch.autograd.gradcheck(lambda given: cosine_and_square(given, teacher, 0.3), aligned)


@pytest.mark.parametrize("loss", [CosMseLoss(), CosineLoss()])
def test_keeps_no_array_beside_the_batch_for_its_gradient(loss):
    aligned, teacher = batch(torch.float32)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor) or tensor, lambda tensor: tensor):
        loss(aligned, teacher)
    assert sum(tensor.numel() for tensor in kept if tensor.ndim == 2) <= aligned.numel() + teacher.numel()


@pytest.mark.skipif(not cpu_rounds_products(), reason="this CPU multiplies no bfloat16")
def test_is_exact_where_training_multiplies_coarsely():
    generator = torch.Generator().manual_seed(0)
    aligned, teacher = (torch.randn(64, 512, generator=generator) for _ in range(2))
    expected = cosine_and_square(aligned.double(), teacher.double(), 0.1 / 512)
    with products_in_bfloat16():
        assert cosine_and_square(aligned, teacher, 0.1 / 512).item() == pytest.approx(expected.item(), abs=1e-6)

"""LoRA: only the narrow matrices are trained, and the saved student has none of them."""

import builtins

import numpy as np
import pytest
import torch
from needed import needed

from alignkit.distillation.trainable import trainable
from alignkit.distillation.tuning import tune
from alignkit.embedders.sentence_transformer import SentenceTransformerEmbedder
from alignkit.errors import ConfigError, MissingExtraError
from alignkit.heads.linear import LinearHead
from alignkit.losses.cosine import CosineLoss
from alignkit.training.device import Device
from alignkit.training.recipe import Recipe
from alignkit.training.solver_batches import SolverBatches

needed("peft")
TEXTS = ["bara dewo", "kisel lotin muxu", "lora naxu muwo bara"]
CPU = torch.device("cpu")


@pytest.fixture
def embedder(students):
    return SentenceTransformerEmbedder(str(students["transformer"]), device="cpu")


def vectors_of(student):
    return student(student.tokenize(TEXTS).batch(np.arange(len(TEXTS)), CPU))


def moved(student):
    """The same after a step of training."""
    torch.manual_seed(1)
    optimizer = torch.optim.SGD([one for one in student.parameters() if one.requires_grad], lr=1.0)
    for _ in range(2):  # of the two factors, the first step moves only the one that starts at zero
        optimizer.zero_grad()
        (vectors_of(student) @ torch.randn(student.dim)).sum().backward()
        optimizer.step()
    return student


def test_it_starts_as_the_embedder_and_trains_little(embedder):
    whole, student = trainable(embedder), trainable(embedder, lora=2)
    assert torch.allclose(vectors_of(student), vectors_of(whole), atol=1e-6)
    trained = {name: one for name, one in student.named_parameters() if one.requires_grad}
    assert trained and all(".lora_" in name for name in trained)
    # 2 * (inputs + outputs) of the six matrices of each of the two layers
    assert sum(one.numel() for one in trained.values()) == 2 * 2 * (4 * (16 + 16) + 2 * (16 + 32))
    assert student.rate > whole.rate


def test_it_starts_alike_in_every_process_and_leaves_the_callers_seed_alone(embedder):
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    first = trainable(embedder, lora=2).state_dict()
    assert torch.equal(torch.rand(1), expected)
    second = trainable(embedder, lora=2).state_dict()
    assert all(torch.equal(value, second[name]) for name, value in first.items())


def test_only_the_layers_asked_for_are_trained(embedder):
    student = trainable(embedder, train_layers=1, lora=2)
    names = [name for name, one in student.named_parameters() if one.requires_grad]
    assert names and all(".layer.1." in name and ".lora_" in name for name in names)


def test_what_is_saved_is_a_plain_student_with_the_trained_vectors(embedder, tmp_path):
    student = moved(trainable(embedder, lora=2))
    expected = vectors_of(student).detach()
    assert not torch.allclose(expected, vectors_of(trainable(embedder)), atol=1e-2)
    student.save(tmp_path / "low_rank")
    trainable(embedder).save(tmp_path / "plain")
    found = SentenceTransformerEmbedder(str(tmp_path / "low_rank"), device="cpu")
    vectors = np.concatenate([batch.vectors[np.argsort(batch.indices)] for batch in found.embed(TEXTS)])
    assert np.allclose(vectors, expected.numpy(), atol=1e-5)
    files = [{str(path.relative_to(tmp_path / name)) for path in (tmp_path / name).rglob("*")}
             for name in ("low_rank", "plain")]  # fmt: skip
    assert files[0] == files[1]
    names = [set(trainable(SentenceTransformerEmbedder(str(tmp_path / name), device="cpu")).state_dict())
             for name in ("low_rank", "plain")]  # fmt: skip
    assert names[0] == names[1]
    for path in (tmp_path / "low_rank").rglob("*config*.json"):
        assert not any(word in path.read_text(encoding="utf-8").lower() for word in ("lora", "peft"))
    # and training can go on after it was saved
    assert torch.allclose(vectors_of(student), expected)
    moved(student)


def test_it_learns_and_leaves_the_matrices_as_they_are(embedder, make_splits):
    splits, student = make_splits(embedder), trainable(embedder, lora=2)
    head = LinearHead(splits.train.student_dim, splits.train.teacher_dim)
    device = torch.device("cpu")
    head.solve(SolverBatches(splits.train, device=device), SolverBatches(splits.validation, device=device))
    before = {name: value.clone() for name, value in student.state_dict().items()}
    recipe = Recipe(batch_size=32, max_epochs=5, lr=1e-2, schedule="one_cycle", select_by="val/cosine_mean")
    result = tune(student, head, splits, loss=CosineLoss(), recipe=recipe, device=Device("cpu", "32-true", "test"),
                  seed=0, run_folder=None, student_lr=2e-2)  # fmt: skip
    assert result.improved, result.reason
    moved = {name for name, value in student.state_dict().items() if not torch.equal(value, before[name])}
    assert moved == {name for name in before if ".lora_" in name}


def test_it_is_refused_without_peft_and_without_layers(embedder, monkeypatch):
    with pytest.raises(ConfigError, match="train_layers=0 leaves no layer to train"):
        trainable(embedder, lora=2, train_layers=0)
    take = builtins.__import__

    def without(name, *given, **named):
        if name.partition(".")[0] == "peft":
            raise ImportError(name)
        return take(name, *given, **named)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingExtraError, match=r'pip install "alignkit\[lora\]"'):
        trainable(embedder, lora=2)

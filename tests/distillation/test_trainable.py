"""Students as they are trained give the vectors of the embedders that they come from."""

from unittest.mock import MagicMock

import numpy as np
import pytest
import torch
from small_embedder import SmallEmbedder

from alignkit.distillation.table_student import TableStudent
from alignkit.distillation.tokens import Tokens
from alignkit.distillation.trainable import trainable
from alignkit.distillation.trainable_student import TrainableStudent
from alignkit.distillation.transformer_student import KEPT_BYTES, TransformerStudent
from alignkit.embedders.sentence_transformer import SentenceTransformerEmbedder
from alignkit.errors import ConfigError

CPU = torch.device("cpu")
TEXTS = [
    "bara dewo",
    "kisel",
    "lotin lotin muxu nara bara dewo kisel lora muwo naxu " * 3,
    "unknown words",
    "muxu bara",
]


def vectors_of(embedder, texts, role="document"):
    found = np.empty((len(texts), embedder.dim), dtype=np.float32)
    for batch in embedder.embed(texts, role):
        found[batch.indices] = batch.vectors
    return found


def test_a_student_gives_the_vectors_of_its_embedder(embedder):
    student = trainable(embedder)
    tokens = student.tokenize(TEXTS)
    assert len(tokens) == len(TEXTS) and student.dim == embedder.dim
    for rows in (np.arange(5), np.array([3, 0]), np.array([2])):
        for grad in (False, True):
            with torch.set_grad_enabled(grad):
                found = student(tokens.batch(rows, CPU)).detach().numpy()
            assert np.allclose(found, vectors_of(embedder, [TEXTS[row] for row in rows]), atol=1e-5)


@pytest.mark.parametrize("role", ["query", "document"])
def test_prompts_are_read_and_saved(students, role, tmp_path):
    for kind in ("table", "transformer"):
        prompts = {"query_prompt": "kisel ", "document_prompt": "lora muxu "}
        embedder = SentenceTransformerEmbedder(str(students[kind]), device="cpu", **prompts)
        student = trainable(embedder, role=role)
        found = student(student.tokenize(TEXTS).batch(np.arange(5), CPU)).detach().numpy()
        assert np.allclose(found, vectors_of(embedder, TEXTS, role), atol=1e-5)
        student.save(tmp_path / kind)
        again = SentenceTransformerEmbedder(str(tmp_path / kind), device="cpu")
        assert np.allclose(vectors_of(again, TEXTS, role), found, atol=1e-5)


def test_the_weights_of_tokens_are_folded_into_the_saved_rows(table, tmp_path):
    student = trainable(table)
    assert isinstance(student, TableStudent)
    with torch.no_grad():
        student.log_weights.copy_(torch.linspace(-2, 2, len(student.log_weights)))
    expected = student(student.tokenize(TEXTS).batch(np.arange(5), CPU)).detach().numpy()
    student.save(tmp_path / "folded")
    found = vectors_of(SentenceTransformerEmbedder(str(tmp_path / "folded"), device="cpu"), TEXTS)
    assert np.allclose(found, expected, atol=1e-5)
    assert not np.allclose(found, vectors_of(table, TEXTS), atol=1e-2)


def test_only_the_last_layers_are_trained(students):
    embedder = SentenceTransformerEmbedder(str(students["transformer"]), device="cpu")
    student = trainable(embedder, train_layers=1)
    assert isinstance(student, TransformerStudent)
    names = [name for name, one in student.named_parameters() if one.requires_grad]
    assert names and all(".layer.1." in name for name in names)
    student(student.tokenize(TEXTS).batch(np.arange(5), CPU)).sum().backward()
    with pytest.raises(ConfigError, match="train_layers=3: the student has 2 layers"):
        trainable(embedder, train_layers=3)


def test_the_embedder_itself_stays_as_it_was(embedder):
    before = vectors_of(embedder, TEXTS)
    student = trainable(embedder)
    with torch.no_grad():
        for parameter in student.parameters():
            parameter.add_(1.0)
    assert np.array_equal(vectors_of(embedder, TEXTS), before)


def test_dropout_stays_off(embedder):
    student = trainable(embedder).train()
    assert not any(module.training for module in student.modules())


def test_what_has_no_weights_here_is_refused_with_another_way(table):
    with pytest.raises(ConfigError, match=r"student=small: .* cannot be trained.*student=table"):
        trainable(SmallEmbedder())
    for setting in ("train_layers", "lora"):
        with pytest.raises(ConfigError, match=f"{setting}=1: a table has no layers; take {setting}=null"):
            trainable(table, **{setting: 1})


def test_a_text_without_tokens_gives_zeros_and_no_nan(table):
    student = trainable(table)
    found = student(student.tokenize(["", "bara"]).batch(np.arange(2), CPU))
    found.square().sum().backward()
    assert not found[0].any() and found[1].any()
    assert all(bool(one.grad.to_dense().isfinite().all()) for one in student.parameters())


def test_long_texts_in_parts_give_the_same_vectors_and_gradients(students, monkeypatch):
    student = trainable(SentenceTransformerEmbedder(str(students["transformer"]), device="cpu"))
    batch = student.tokenize(TEXTS).batch(np.arange(5), CPU)
    found, gradients = [], []
    for tokens in (10**6, 20):
        monkeypatch.setitem(KEPT_BYTES, "cpu", tokens * 4 * 24 * 16 * 2)  # in two layers of 16 dimensions
        vectors = student(batch)
        vectors[:, 0].sum().backward()
        found.append(vectors.detach())
        gradients.append([one.grad.to_dense() for one in student.parameters() if one.grad is not None])
        student.zero_grad()
    assert torch.allclose(*found, atol=1e-6)
    assert gradients[0] and all(torch.allclose(one, other, atol=1e-5) for one, other in zip(*gradients, strict=True))


def test_rough_products_change_the_speed_and_not_the_vectors(embedder, tmp_path):
    student = trainable(embedder)
    student.suit_rough_products()
    found = student(student.tokenize(TEXTS).batch(np.arange(5), CPU)).detach().numpy()
    assert np.allclose(found, vectors_of(embedder, TEXTS), atol=1e-5)
    student.save(tmp_path / "student")
    assert "eager" not in "".join(file.read_text(encoding="utf-8") for file in (tmp_path / "student").glob("*config*"))


@pytest.mark.parametrize("limit", [10**9, 0])
def test_many_tokens_are_kept_on_disk(monkeypatch, limit):
    monkeypatch.setattr("alignkit.distillation.tokens.IN_MEMORY_BYTES", limit)
    monkeypatch.setattr("alignkit.distillation.tokens.TEXTS_AT_ONCE", 3)
    texts = ["x" * length for length in (3, 0, 5, 1, 2, 0, 7)]
    tokens = Tokens.of(texts, lambda part: [list(range(len(text))) for text in part])
    assert isinstance(tokens.ids, np.memmap) == (limit == 0)
    assert tokens.lengths.tolist() == [len(text) for text in texts] == tokens.lengths_of(np.arange(7)).tolist()
    batch = tokens.batch(np.array([6, 1, 0]), CPU)
    assert batch.ids.tolist() == [*range(7), *range(3)] and batch.lengths.tolist() == [7, 0, 3]
    assert batch.starts().tolist() == [0, 7, 7]
    assert len(Tokens.of([], lambda part: [])) == 0


class OnGpu(torch.nn.Linear):
    """A module whose weights lie on a GPU, as far as a machine without one can tell."""

    asked = MagicMock()

    def _apply(self, convert, recurse=True):
        convert(self.asked)
        return super()._apply(convert, recurse)


def test_a_student_that_embedded_on_a_gpu_is_trained_from_the_cpu_on():
    TrainableStudent([OnGpu(2, 2)], {"query": "", "document": ""}, "document")
    assert OnGpu.asked.cpu.called

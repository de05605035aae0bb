"""Speed of training a student, as a ratio to its bare forward and backward: python -m pytest tests/bench -n0 -s."""

import csv
import statistics
import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from alignkit.distillation.recipes import recipe_for
from alignkit.distillation.text_batches import TextBatches
from alignkit.distillation.trainable import trainable
from alignkit.distillation.tuned_model import TunedModel
from alignkit.distillation.tuning import tune
from alignkit.embedders.static import StaticEmbedder
from alignkit.embedders.two_layer import TwoLayerEmbedder
from alignkit.heads.mlp import MlpHead
from alignkit.losses.rank_kl import RankKlLoss
from alignkit.pairs.base import Pairs, PairSplits
from alignkit.rounding import products_in_bfloat16
from alignkit.training.device import choose_device
from alignkit.training.row_order import RowOrder

TEACHER_DIM, ROUNDS = 384, 3
# of the texts, as a run holds them out; they are looked at after every epoch
VALIDATION_SHARE = 0.1
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def texts(shared_data):
    with open(shared_data / "sentences_en" / "sentences.tsv", encoding="utf-8") as file:
        return [row[0] for row in csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE)][1:]


def make_splits(texts, student_dim):
    rng = np.random.default_rng(0)

    def some(part):
        student, teacher = (rng.normal(size=(len(part), dim)).astype(np.float32) for dim in (student_dim, TEACHER_DIM))
        return Pairs([str(row) for row in range(len(part))], student, teacher, texts=part)

    held_out = int(VALIDATION_SHARE * len(texts))
    return PairSplits(some(texts[held_out:]), some(texts[:held_out]), some(texts[:2]))


def bare(student, head, splits, recipe, device):
    """CPU seconds of forward and backward of one epoch, its batches being there."""
    model = TunedModel(student, head, 1.0).train()
    order = RowOrder(len(splits.train), shuffle=True)
    tokens = student.tokenize(splits.train.texts)
    batches = list(
        TextBatches(splits.train, tokens, recipe.batch_size, order=lambda: order, epoch=lambda: 0, device=lambda: CPU)
    )
    loss, start = RankKlLoss(), time.process_time()
    for batch in batches:
        with products_in_bfloat16(device.rough_products):
            loss(model(batch.student), batch.teacher).backward()
        model.zero_grad()
    return time.process_time() - start


def ours(student, head, splits, recipe, device):
    """CPU seconds of one epoch more, with its validation."""
    seconds = []
    for epochs in (1, 2):
        start = time.process_time()
        tune(student, head, splits, loss=RankKlLoss(), recipe=replace(recipe, max_epochs=epochs, enough_pairs=None),
             device=device, seed=0, run_folder=None)  # fmt: skip
        seconds.append(time.process_time() - start)
    return seconds[1] - seconds[0]


@pytest.mark.parametrize(
    ("embedder", "lora", "count", "most"),
    [(TwoLayerEmbedder, None, 3_413, 1.3), (TwoLayerEmbedder, 16, 3_413, 1.3), (StaticEmbedder, None, 22_755, 1.5)],
)
def test_training_takes_little_more_than_forward_and_backward(texts, embedder, lora, count, most):
    student = trainable(embedder(), lora=lora)
    splits, device = make_splits(texts[:count], student.dim), choose_device("cpu")
    head = MlpHead(student.dim, TEACHER_DIM)
    recipe = recipe_for(student, head)
    if device.rough_products:
        student.suit_rough_products()
    ours(student, head, splits, recipe, device)  # the first call of anything takes longer
    rounds = []
    for _ in range(ROUNDS):
        least, whole = (measure(student, head, splits, recipe, device) for measure in (bare, ours))
        rounds.append(whole / least)
        rate, name = len(splits.train) / whole, embedder.__name__
        print(f"\n{name}: {rate:,.0f} texts a CPU second, {rounds[-1]:.2f} times the bare forward and backward")
    assert statistics.median(rounds) <= most

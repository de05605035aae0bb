from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import log_softmax

from alignkit.metrics import self_retrieval as room
from alignkit.metrics.self_retrieval import self_log_probabilities, self_retrieval
from alignkit.vectors import l2_normalize


def sample(queries: int = 40, corpus: int = 90, width: int = 6, noise: float = 0.5) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(3)
    vectors = torch.randn(corpus, width, generator=generator)
    own = torch.randperm(corpus, generator=generator)[:queries]
    return vectors[own] + noise * torch.randn(queries, width, generator=generator), vectors, own


def test_ranks_are_those_of_a_sorted_list() -> None:
    queries, corpus, own = sample()
    cosines = (l2_normalize(queries) @ l2_normalize(corpus).T).numpy()
    expected = [1 + int((row > row[one]).sum()) for row, one in zip(cosines, own.tolist(), strict=True)]
    found = self_retrieval(queries, corpus, own)
    assert found.ranks.tolist() == expected
    assert found.figures()["self_mrr"] == pytest.approx(np.mean(1 / np.array(expected)))
    assert found.figures()["self_recall@1"] == pytest.approx(np.mean(np.array(expected) == 1))


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    queries, corpus, own = sample()
    whole, told = self_retrieval(queries, corpus, own), self_log_probabilities(queries, corpus, own)
    monkeypatch.setattr(room, "BLOCK_SCORES", 7 * len(corpus))
    blocks = self_retrieval(queries, corpus, own)
    assert torch.equal(whole.ranks, blocks.ranks) and torch.allclose(told, self_log_probabilities(queries, corpus, own))


def test_a_query_that_says_the_same_of_every_text_finds_none() -> None:
    """Not the first of equal ones by luck: the middle of them all."""
    corpus = torch.eye(5)
    constant = self_retrieval(torch.ones(5, 5), corpus, torch.arange(5))
    nothing = self_retrieval(torch.zeros(5, 5), corpus, torch.arange(5))
    assert constant.ranks.tolist() == nothing.ranks.tolist() == [3.0] * 5


def test_log_probability_is_a_softmax_at_its_best_temperature() -> None:
    queries, corpus, own = sample()
    cosines = (l2_normalize(queries) @ l2_normalize(corpus).T).double().numpy()
    rows = np.arange(len(own))
    expected = max(log_softmax(sharp * cosines, axis=1)[rows, own.numpy()].mean() for sharp in room.SHARPNESS)
    assert float(self_log_probabilities(queries, corpus, own).mean()) == pytest.approx(expected, abs=1e-5)


def test_log_probability_tells_heads_apart_that_find_the_same() -> None:
    queries, corpus, own = sample(noise=0.3)
    queries[0] = corpus[own[1]]  # both heads are wrong about this one
    near, nearer = (torch.cat([queries[:1], torch.lerp(corpus[own[1:]], queries[1:], share)]) for share in (0.4, 0.1))
    for head in (near, nearer):
        assert self_retrieval(head, corpus, own).ranks[1:].tolist() == [1.0] * (len(own) - 1)
    told = [self_log_probabilities(head, corpus, own).mean() for head in (near, nearer)]
    assert told[1] > told[0]


def test_no_queries_give_no_figures() -> None:
    empty = self_retrieval(torch.zeros(0, 3), torch.eye(3), torch.zeros(0, dtype=torch.int64))
    assert empty.figures() == {"self_mrr": None, "self_recall@1": None}

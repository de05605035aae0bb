"""Names of the figures that training looks at."""

from __future__ import annotations

FIGURES = (
    "cosine_mean",
    "cosine_p05",
    "cosine_p50",
    "cosine_p95",
    "cosine_centered_mean",
    "spearman",
    "overlap@10",
    "self_mrr",
    "self_recall@1",
)

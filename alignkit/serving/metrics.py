"""The server's counters for Prometheus; they never hold a text."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from alignkit.extras import needing
from alignkit.serving.likeness import WINDOW, Likeness

LATENCY_BUCKETS_S = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60)
BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048)


class ServerMetrics:
    """Counters of one server, in their own registry.

    Args:
        queued_texts: called at each scrape.
    """

    def __init__(self, queued_texts: Callable[[], int]) -> None:
        with needing("serve"):
            from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
        self._registry = CollectorRegistry()
        self._requests = Counter("alignkit_requests", "Requests answered", ["route", "status"], registry=self._registry)
        self._latency = Histogram(
            "alignkit_request_seconds",
            "From a request's headers to its answer",
            ["route"],
            buckets=LATENCY_BUCKETS_S,
            registry=self._registry,
        )
        self._texts = Counter("alignkit_texts", "Texts embedded for answered requests", registry=self._registry)
        self._by_teacher = Counter(
            "alignkit_teacher_texts", "Of these, texts embedded by the teacher", registry=self._registry
        )
        self._searches = Counter("alignkit_searches", "Searches answered", ["route"], registry=self._registry)
        self._search_latency = Histogram(
            "alignkit_search_seconds",
            "Of a search: the models, the index, and all together",
            ["route", "part"],
            buckets=LATENCY_BUCKETS_S,
            registry=self._registry,
        )
        self._batches = Histogram(
            "alignkit_batch_texts", "Texts per batch", buckets=BATCH_BUCKETS, registry=self._registry
        )
        self._logged = Counter(
            "alignkit_query_log_texts", "Texts for the query log, kept or lost", ["outcome"], registry=self._registry
        )
        Gauge("alignkit_queued_texts", "Texts waiting", registry=self._registry).set_function(queued_texts)

    def show(self, likeness: Likeness, has_confidence: bool) -> None:
        """Show how like the training recent texts are.

        Args:
            likeness: asked at each scrape.
            has_confidence: whether the head estimates it.
        """
        from prometheus_client import Gauge

        told = []
        if has_confidence:
            told.append(("confidence", f"The head's mean confidence in the last {WINDOW} texts, 0 to 1"))
        if likeness.sample is not None:
            far = "texts farther from the training sentences than 99% of those held out from it; 0.01 is usual"
            told.append(("unlike", f"Share of the last {WINDOW} sampled {far}"))
            told.append(("compared", "Sampled texts that alignkit_recent_unlike is of"))
        for name, words in told:
            gauge = Gauge(f"alignkit_recent_{name}", words, registry=self._registry)
            gauge.set_function(functools.partial(getattr, likeness, name))

    def logged(self, kept: int, lost: int) -> None:
        """Count texts for the query log: written, and drawn but not written."""
        self._logged.labels("kept").inc(kept)
        self._logged.labels("lost").inc(lost)

    def request(self, route: str, status: int, seconds: float) -> None:
        """Count an answered request."""
        counter, histogram = self._of(route, status)
        counter.inc()
        histogram.observe(seconds)

    @functools.cache  # noqa: B019 -- looking up labels costs more than counting; there are few labels and one server
    def _of(self, route: str, status: int) -> tuple[Any, Any]:
        return self._requests.labels(route, str(status)), self._latency.labels(route)

    def texts(self, count: int, by_teacher: int) -> None:
        """Count embedded texts."""
        self._texts.inc(count)
        if by_teacher:
            self._by_teacher.inc(by_teacher)

    def search(self, route: str, embed_s: float, search_s: float, total_s: float) -> None:
        """Count an answered search.

        Args:
            route: that was really used.
            embed_s: that the models took.
            search_s: that the index took.
            total_s: all together.
        """
        counter, *histograms = self._of_search(route)
        counter.inc()
        for histogram, seconds in zip(histograms, (embed_s, search_s, total_s), strict=True):
            histogram.observe(seconds)

    @functools.cache  # noqa: B019 -- as above
    def _of_search(self, route: str) -> tuple[Any, ...]:
        parts = [self._search_latency.labels(route, part) for part in ("embed", "index", "total")]
        return self._searches.labels(route), *parts

    def batch(self, texts: int) -> None:
        """Count a batch."""
        self._batches.observe(texts)

    def exposition(self) -> tuple[bytes, str]:
        """All figures in Prometheus' text format, and its media type."""
        from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

        return generate_latest(self._registry), CONTENT_TYPE_LATEST

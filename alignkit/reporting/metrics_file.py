"""`metrics.json`: all figures, with the sentences that go with them."""

from __future__ import annotations

import json
from typing import Any

from alignkit.evaluation.result import Result
from alignkit.reporting.remarks import alarms_of, notes_of
from alignkit.reporting.training_words import training_words
from alignkit.reporting.verdict_words import verdict_words


def rows_json(result: Result) -> dict[str, dict[str, float | None]]:
    """Row → figures by their keys: `rows` of `metrics.json`, and what an artifact keeps."""
    return result.to_json()["rows"]


def meta_json(result: Result) -> dict[str, Any]:
    """`meta` of `metrics.json`."""
    meta = result.to_json()["meta"]
    words: dict[str, Any] = {
        "notes": notes_of(result),
        "verdict_text": verdict_words(result.verdict).to_json(),
        "alarms": {**meta["alarms"], "raised": alarms_of(result)},
    }
    if result.about.training is not None:
        words["training"] = training_words(result, result.about.training)
    return meta | words


def metrics_text(result: Result) -> str:
    """The file; undefined figures are null."""
    whole = {"rows": rows_json(result), "meta": meta_json(result)}
    return json.dumps(whole, indent=2, ensure_ascii=False, allow_nan=False) + "\n"

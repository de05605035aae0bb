"""What an earlier run reported, read back from its folder: the verdict in words, and the plots."""

from __future__ import annotations

import html
import json
import logging
import re
from pathlib import Path
from typing import Any

logger = logging.getLogger(__name__)

# as `report.html.j2` writes them
_FIGURE = re.compile(r"<figure><h3>(.*?)</h3>\s*(<svg\b.*?</svg>)\s*<figcaption>(.*?)</figcaption></figure>", re.DOTALL)


def read_report(folder: Path) -> dict[str, Any] | None:
    """The report in a run folder; `None` where there is none that can be read.

    Returns:
        `verdict` (`name`, `headline`, `reasons`), `alarms` (sentences) and `pictures` (each with its `question`, `svg`
        and `answer`; none where the run wrote no page).
    """
    metrics = folder / "metrics.json"
    try:
        meta = json.loads(metrics.read_text("utf-8"))["meta"]
        verdict = {
            "name": str(meta["verdict_text"]["name"]),
            "headline": str(meta["verdict_text"]["headline"]),
            "reasons": [str(reason) for reason in meta["verdict_text"]["reasons"]],
        }
        alarms = [str(alarm) for alarm in meta["alarms"]["raised"]]
    except FileNotFoundError:
        return None
    except (OSError, ValueError, LookupError, TypeError) as error:
        logger.warning("%s: no verdict can be read from it (%s)", metrics, type(error).__name__)
        return None
    return {"verdict": verdict, "alarms": alarms, "pictures": _pictures(folder / "report.html")}


def _pictures(page: Path) -> list[dict[str, str]]:
    try:
        written = page.read_text("utf-8")
    except (OSError, ValueError):
        return []
    return [
        {"question": html.unescape(question), "svg": svg, "answer": html.unescape(answer)}
        for question, svg, answer in _FIGURE.findall(written)
    ]

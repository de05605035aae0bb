"""What a cache holds and what was done to it, in lines for a person."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from alignkit.cache.filling import FillReport
    from alignkit.cache.vector_cache import RememberedIdentity

QUARANTINED_SHOWN = 10


def summary(name: str, report: FillReport) -> list[str]:
    """What a fill did, in lines for stdout."""
    if not report.tried:
        lines = [f"{name}: nothing to do, all {report.cached:,} texts are cached"]
        if report.quarantined:
            lines[0] = f"{name}: nothing to do, {report.cached:,} texts are cached, "
            lines[0] += f"{len(report.quarantined):,} quarantined"
        return lines + quarantine_lines(report)
    rate = report.new / report.seconds if report.seconds else 0.0
    line = f"{name}: {report.new:,} new, {report.cached:,} cached, {len(report.quarantined):,} quarantined"
    line += f"; {report.seconds:.1f} s, {rate:,.0f} texts/s"
    if report.first_batch_s is not None:
        line += f", first batch (loading included) after {report.first_batch_s:.1f} s"
    return [line, *quarantine_lines(report)]


def quarantine_lines(report: FillReport) -> list[str]:
    """Which texts have no vector, and why."""
    if not report.quarantined:
        return []
    shown = list(report.quarantined.items())[:QUARANTINED_SHOWN]
    lines = [f"  quarantined: {shortened(text)!r}: {reason}" for text, reason in shown]
    if len(report.quarantined) > len(shown):
        lines.append(f"  and {len(report.quarantined) - len(shown):,} more")
    return [*lines, "  quarantined texts have no vector and are left out; retry_quarantined=true asks for them again"]


def shortened(text: str, longest: int = 60) -> str:
    """A text that fits on a line.

    >>> shortened("word " * 4, longest=10)
    'word word ...'
    """
    return text if len(text) <= longest else f"{text[:longest]}..."


def described(model: RememberedIdentity) -> list[str]:
    """A model in the cache, in lines for stdout."""
    details = {**model.identity, **{name: value for name, value in model.provenance.items() if value is not None}}
    details.pop("model", None)
    return [
        f"{model.identity.get('model', '?')}: {model.rows:,} vectors of {model.dim} dimensions, "
        f"{megabytes(model.bytes)} in {model.shards} shards, {model.quarantined} quarantined, "
        f"written {model.first_written[:16]} to {model.last_written[:16]}",
        "  " + ", ".join(f"{name}={value}" for name, value in details.items()),
    ]


def megabytes(size: int) -> str:
    """A size on disk.

    >>> megabytes(2_500_000)
    '2.5 MB'
    """
    return f"{size / 1e6:,.1f} MB"

"""What a cache holds and what was done to it, as lines for the user."""

from __future__ import annotations

from collections.abc import Sequence

from alignkit.cache.fill_report import FillReport
from alignkit.cache.stored_models import RememberedIdentity
from alignkit.embedders.sameness import brief, differing, normal_name, same_vectors
from alignkit.servers.untrusted_words import one_line, quoted

QUARANTINED_SHOWN = 10
LONGEST_LINE = 1000


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
    return [line, *cut_lines(report), *quarantine_lines(report)]


def cut_lines(report: FillReport) -> list[str]:
    """How many texts the model read only the beginning of."""
    if not report.cut:
        return []
    context = "the model's context" if report.context is None else f"the model's context of {report.context:,} tokens"
    return [f"  {report.cut:,} of the new texts are longer than {context}: their vectors cover only their beginnings"]


def quarantine_lines(report: FillReport) -> list[str]:
    """Which texts have no vector, and why."""
    if not report.quarantined:
        return []
    shown = list(report.quarantined.items())[:QUARANTINED_SHOWN]
    lines = [f"  quarantined: {quoted(text)}: {reason}" for text, reason in shown]
    if len(report.quarantined) > len(shown):
        lines.append(f"  and {len(report.quarantined) - len(shown):,} more")
    return [*lines, "  quarantined texts have no vector and are left out; retry_quarantined=true tries them again"]


def described(model: RememberedIdentity, among: Sequence[RememberedIdentity] = ()) -> list[str]:
    """A model in the cache, in lines for stdout; told apart from its namesakes among the others."""
    details = {**model.identity, **{name: value for name, value in model.provenance.items() if value is not None}}
    details.pop("model", None)
    name = f"{model.identity.get('model', '?')}{_apart(model, among)}"
    lines = [
        f"{name}: {model.rows:,} vectors of {model.dim} dimensions, "
        f"{megabytes(model.bytes)} in {model.shards} shards, {model.quarantined} quarantined, "
        f"written {model.first_written[:16]} to {model.last_written[:16]}",
        ", ".join(f"{name}={brief(value)}" for name, value in details.items()),
    ]
    # of headers, which somebody else may have written
    first, second = (one_line(line, LONGEST_LINE) for line in lines)
    return [first, f"  {second}"]


def _apart(model: RememberedIdentity, among: Sequence[RememberedIdentity]) -> str:
    name = normal_name(str(model.identity.get("model")))
    namesakes = [
        other.identity
        for other in among
        if other.identity != model.identity and normal_name(str(other.identity.get("model"))) == name
    ]
    keys = dict.fromkeys(key for other in namesakes for key in differing(model.identity, other))
    told = [f"{key} {brief(model.identity.get(key))!r}" for key in keys]
    told += ["described in another way too"] * any(same_vectors(model.identity, other) for other in namesakes)
    return f" ({', '.join(told)})" if told else ""


def megabytes(size: int) -> str:
    """A size on disk.

    >>> megabytes(2_500_000)
    '2.5 MB'
    """
    return f"{size / 1e6:,.1f} MB"

"""Let a chat model write paraphrases and hard negatives; what it gets wrong stays as the grammar made it."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

from alignkit.errors import ConfigError
from alignkit.sentences.chat import ChatError
from alignkit.sentences.normalise import is_cjk, normalise_text
from alignkit.sentences.records import HardNegative, Sample
from alignkit.sentences.seeds import HARD_NEGATIVES, PARAPHRASES

logger = logging.getLogger(__name__)

KINDS = ("date", "person", "amount", "place", "item", "negation", "opposite", "neighbour")
MOST_LENGTH_RATIO = 3.0
# A server that fails this often in a row is down; what is done is in the journal.
MOST_FAILURES_IN_A_ROW = 5
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "paraphrases": {
            "type": "array", "items": {"type": "string"}, "minItems": PARAPHRASES, "maxItems": PARAPHRASES,
        },
        "hard_negatives": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"text": {"type": "string"}, "kind": {"type": "string", "enum": list(KINDS)}},
                "required": ["text", "kind"],
                "additionalProperties": False,
            },
            "minItems": HARD_NEGATIVES,
            "maxItems": HARD_NEGATIVES,
        },
    },
    "required": ["paraphrases", "hard_negatives"],
    "additionalProperties": False,
}  # fmt: skip
_SYSTEM = "You write short sentences as people say them at work. Answer with JSON only."
_LANGUAGES = {"en": "English", "zh": "Chinese (simplified)"}


class Asks(Protocol):
    """What a chat model does here; `alignkit.sentences.chat.ChatModel` is one."""

    def ask(self, system: str, question: str, schema: dict[str, Any], seed: int) -> dict[str, Any]:
        """One answer."""
        ...


@dataclass
class RewriteCounts:
    """How the model did: samples it wrote, samples left to the grammar, and why."""

    written: int = 0
    fallen_back: int = 0
    reasons: Counter[str] = field(default_factory=Counter)

    def line(self) -> str:
        """One line for the report."""
        why = "; ".join(f"{reason}: {count}" for reason, count in self.reasons.most_common(5))
        total = self.written + self.fallen_back
        return f"the model wrote {self.written:,} of {total:,} samples, the grammar {self.fallen_back:,}" + (
            f" ({why})" if why else ""
        )


def rewrite(
    samples: Iterable[Sample],
    model: Asks,
    journal: Path,
    settings: Mapping[str, Any],
    counts: RewriteCounts,
    *,
    attempts: int = 3,
    concurrency: int = 2,
    seed: int = 0,
) -> Iterator[Sample]:
    """Yield the samples in order, rewritten where the model's answer passes.

    Args:
        samples: from the grammar; their paraphrases and negatives are the fallback.
        model: who is asked; several times at once if `concurrency` says so.
        journal: each answer is noted here as it comes, so that the next run with the same settings goes on from it.
        settings: all that shapes an answer; a journal with others is refused.
        counts: kept up to date while samples are taken.
        attempts: questions a sample, each with another seed, until an answer passes.
        concurrency: questions under way at once.
        seed: of the model's sampling.

    Raises:
        ConfigError: if the journal was begun with other settings.
        ChatError: if the server refuses or fails several times in a row; run again to go on.
    """
    done = _open_journal(journal, settings)
    waiting = iter(samples)
    failures = 0
    with journal.open("a", encoding="utf-8", newline="\n") as file, ThreadPoolExecutor(concurrency) as pool:
        while batch := list(islice(waiting, 4 * concurrency)):
            asked = [
                pool.submit(_answer, model, sample, attempts, seed) if sample.id not in done else None
                for sample in batch
            ]
            for sample, future in zip(batch, asked, strict=True):
                row = done.get(sample.id)
                if future is not None:
                    row, fault = future.result()
                    failures = failures + 1 if fault else 0
                    if fault and (failures >= MOST_FAILURES_IN_A_ROW or not (counts.written or counts.fallen_back)):
                        pool.shutdown(cancel_futures=True)
                        raise fault
                    if not fault:
                        file.write(json.dumps({"id": sample.id, **row}, ensure_ascii=False) + "\n")
                        file.flush()
                yield _apply(sample, row or {}, counts)


def check_answer(sample: Sample, answer: Mapping[str, Any]) -> str | None:
    """Why an answer cannot be used, in a few words that samples share; None if it can."""
    try:
        paraphrases = [str(text) for text in answer["paraphrases"]]
        negatives = [(str(one["text"]), str(one["kind"])) for one in answer["hard_negatives"]]
    except (KeyError, TypeError):
        return "another shape than asked for"
    if len(paraphrases) != PARAPHRASES or len(negatives) != HARD_NEGATIVES:
        return "another number of sentences than asked for"
    texts = [*paraphrases, *(text for text, _ in negatives)]
    if any(not text.strip() or "\n" in text or len(text) > MOST_LENGTH_RATIO * len(sample.text) for text in texts):
        return "blank, several lines or far too long"
    if len({normalise_text(text) for text in [sample.text, *texts]}) != 1 + len(texts):
        return "a copy of the sentence or of another one"
    if any(is_cjk(text) != is_cjk(sample.text) for text in texts):
        return "another language"
    if any(kind not in KINDS for _, kind in negatives):
        return "a kind of difference that was not asked for"
    kept = [normalise_text(value) for value in sample.slots.values()]
    if any(value not in normalise_text(text) for text in paraphrases for value in kept):
        return "a paraphrase lost a value"
    return None


def _answer(model: Asks, sample: Sample, attempts: int, seed: int) -> tuple[dict[str, Any], ChatError | None]:
    """What to note of a sample, and the fault that kept the server from answering."""
    reason = ""
    for attempt in range(attempts):
        try:
            answer = model.ask(_SYSTEM, _question(sample), SCHEMA, seed + attempt)
        except ChatError as fault:
            return {"reason": "the server failed"}, fault
        except ValueError:
            reason = "no JSON"
            continue
        reason = check_answer(sample, answer) or ""
        if not reason:
            return {"paraphrases": answer["paraphrases"], "hard_negatives": answer["hard_negatives"]}, None
    return {"reason": reason}, None


def _question(sample: Sample) -> str:
    language = _LANGUAGES.get(sample.language, sample.language)
    values = ", ".join(f"{name}: {value}" for name, value in sample.slots.items()) or "none"
    return (
        f"Sentence ({language}): {sample.text}\nValues: {values}\n"
        f"Write {PARAPHRASES} paraphrases in {language}: other words and another structure, the same meaning, every "
        f"value as it stands. Then write {HARD_NEGATIVES} hard negatives in {language}: keep most of the words, but "
        f"change what is meant; kind is how it differs, one of {', '.join(KINDS)}."
    )


def _apply(sample: Sample, row: Mapping[str, Any], counts: RewriteCounts) -> Sample:
    if "paraphrases" not in row:
        counts.fallen_back += 1
        counts.reasons[str(row.get("reason", "the server failed"))] += 1
        return sample
    counts.written += 1
    negatives = tuple(HardNegative(one["text"], one["kind"]) for one in row["hard_negatives"])
    return replace(sample, source="llm", paraphrases=tuple(row["paraphrases"]), hard_negatives=negatives)


def _open_journal(journal: Path, settings: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """What an earlier run noted; a line that a crash cut off is dropped."""
    header = json.dumps(dict(settings), sort_keys=True, ensure_ascii=False)
    rows: dict[str, dict[str, Any]] = {}
    kept: Sequence[str] = []
    if journal.is_file():
        lines = journal.read_text(encoding="utf-8", errors="replace").split("\n")
        if lines[0] != header:
            raise ConfigError(f"{journal} was begun with other settings; finish that build, or remove the file")
        kept = lines[1:-1]
    journal.parent.mkdir(parents=True, exist_ok=True)
    sound = [header]
    for line in kept:
        try:
            row = json.loads(line)
            rows[row["id"]] = row
        except (ValueError, KeyError, TypeError):
            continue
        sound.append(line)
    journal.write_text("\n".join(sound) + "\n", encoding="utf-8", newline="\n")
    if rows:
        logger.info("%d answers are in %s; going on from there", len(rows), journal)
    return rows

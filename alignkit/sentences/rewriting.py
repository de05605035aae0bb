"""Let a chat model write paraphrases and hard negatives; the grammar's remain where it fails."""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Protocol

from alignkit.errors import AlignkitError
from alignkit.sentences.chat import ChatError
from alignkit.sentences.drafts import KINDS, LEAST_LENGTH_RATIO, MOST_LENGTH_RATIO, Draft, completed
from alignkit.sentences.journal import Journal, is_answer
from alignkit.sentences.patience import Patience
from alignkit.sentences.records import Sample
from alignkit.sentences.seeds import HARD_NEGATIVES, PARAPHRASES

logger = logging.getLogger(__name__)

# A server that fails this often in a row is down; finished answers are in the journal.
MOST_FAILURES_IN_A_ROW = 5
_SYSTEM = "You write short sentences as people say them at work. Answer with JSON only."
_LANGUAGES = {"en": "English", "zh": "Chinese (simplified)"}


class Asks(Protocol):
    """What is needed of a chat model; `alignkit.sentences.chat.ChatModel` is one."""

    def ask(
        self,
        system: str,
        question: str,
        schema: dict[str, Any],
        seed: int,
        most_tokens: int,
        left_s: float = math.inf,
    ) -> dict[str, Any]:
        """One answer."""
        ...


@dataclass
class RewriteCounts:
    """How the model did: samples it wrote wholly or in part, samples left to the grammar, and why."""

    written: int = 0
    partly: int = 0
    fallen_back: int = 0
    reasons: Counter[str] = field(default_factory=Counter)

    @property
    def total(self) -> int:
        """Samples so far."""
        return self.written + self.partly + self.fallen_back

    def line(self) -> str:
        """One line for the report."""
        why = "; ".join(f"{reason}: {count}" for reason, count in self.reasons.most_common(5))
        partly = f" and a part of {self.partly:,}" if self.partly else ""
        return (
            f"the model wrote {self.written:,} of {self.total:,} samples{partly}, the grammar {self.fallen_back:,}"
            f"{f' ({why})' if why else ''}"
        )


def rewrite(
    samples: Iterable[Sample],
    model: Asks,
    journal: Journal,
    counts: RewriteCounts,
    *,
    patience: Patience | None = None,
    attempts: int = 3,
    concurrency: int = 2,
    seed: int = 0,
) -> Iterator[Sample]:
    """Yield the samples in order, with the model's sentences that pass; the rest remain the grammar's.

    Args:
        samples: from the grammar; their paraphrases and negatives are the fallback.
        model: asked several times at once if `concurrency` allows it.
        journal: keeps each answer as it comes, so that the next run with the same settings goes on from there.
        counts: updated while samples are taken.
        patience: when to stop asking; None never stops.
        attempts: questions per sample, each with another seed, until enough sentences pass.
        concurrency: questions in flight at once.
        seed: of the model's sampling.

    Raises:
        ChatError: if the server refuses or fails several times in a row; run again to go on.
    """
    patience = patience or Patience()
    waiting = iter(samples)
    failures = 0
    pool = ThreadPoolExecutor(concurrency)
    try:
        while batch := list(islice(waiting, 4 * concurrency)):
            asked = [
                None if sample.id in journal.rows else pool.submit(_answer, model, sample, attempts, seed, patience)
                for sample in batch
            ]
            for sample, future in zip(batch, asked, strict=True):
                row = journal.rows.get(sample.id)
                if future is not None:
                    row, fault = future.result()
                    failures = failures + 1 if fault else 0
                    if fault and (failures >= MOST_FAILURES_IN_A_ROW or not counts.total):
                        raise fault
                    if not fault and (is_answer(row) or not patience.end()):
                        journal.note(sample.id, row)
                yield _apply(sample, row or {}, counts)
    except (AlignkitError, KeyboardInterrupt) as error:
        # after Ctrl-C nobody waits for questions in flight: closing the model ends them
        pool.shutdown(wait=isinstance(error, AlignkitError), cancel_futures=True)
        if journal.rows:
            logger.warning("%d answers are kept; run the same command to go on from there", len(journal.rows))
        raise
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        journal.close()


def _answer(
    model: Asks, sample: Sample, attempts: int, seed: int, patience: Patience
) -> tuple[dict[str, Any], ChatError | None]:
    """What to note for a sample, and the fault that kept the server from answering."""
    draft = Draft(sample)
    reason = ""
    for attempt in range(attempts):
        if ended := patience.end():
            reason = reason or ended
            break
        try:
            answer = model.ask(
                _SYSTEM, _question(sample), _schema(sample), seed + attempt, _most_tokens(sample), patience.left_s()
            )
            refused = draft.take(answer)
        except ChatError as fault:
            return {"reason": "the server failed"}, fault
        except ValueError as error:
            refused = str(error)
        patience.note(bool(draft.paraphrases or draft.negatives))
        reason = reason or refused
        if draft.is_enough:
            break
    return draft.row(reason), None


def _schema(sample: Sample) -> dict[str, Any]:
    """The schema of an answer. Bounded strings: a server that enforces them stops a small model that never would."""
    length = len(sample.text)
    text = {
        "type": "string",
        "minLength": math.ceil(LEAST_LENGTH_RATIO * length),
        "maxLength": math.floor(MOST_LENGTH_RATIO * length),
    }
    negative = {
        "type": "object",
        "properties": {"text": text, "kind": {"type": "string", "enum": list(KINDS)}},
        "required": ["text", "kind"],
        "additionalProperties": False,
    }
    lists = (("paraphrases", text, PARAPHRASES), ("hard_negatives", negative, HARD_NEGATIVES))
    return {
        "type": "object",
        "properties": {
            name: {"type": "array", "items": items, "minItems": count, "maxItems": count}
            for name, items, count in lists
        },
        "required": [name for name, _, _ in lists],
        "additionalProperties": False,
    }


def _most_tokens(sample: Sample) -> int:
    """Twice what good answers take: small models' tokens are about two bytes long."""
    sentence = len(sample.text.encode("utf-8")) // 2
    return 64 + (PARAPHRASES + HARD_NEGATIVES) * (16 + sentence)


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
    if not is_answer(row):
        counts.fallen_back += 1
        counts.reasons[str(row.get("reason") or "the server failed")] += 1
        return sample
    found, whole = completed(sample, row)
    counts.written += whole
    counts.partly += not whole
    return found

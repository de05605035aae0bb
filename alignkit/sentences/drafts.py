"""The usable sentences of a chat model's answers, checked one by one, so that a bad one does not spoil the others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from alignkit.sentences.normalise import is_cjk, normalise_text
from alignkit.sentences.overlap import word_overlap
from alignkit.sentences.records import HardNegative, Sample
from alignkit.sentences.seeds import HARD_NEGATIVES, PARAPHRASES

KINDS = ("date", "person", "amount", "place", "item", "negation", "opposite", "neighbour")
# times the length of the original sentence
LEAST_LENGTH_RATIO, MOST_LENGTH_RATIO = 0.25, 2.5
# share of a hard negative's words that its sentence has too
LEAST_OVERLAP = 0.3
# with this much from the model it is not asked again; the grammar fills the rest
ENOUGH_PARAPHRASES, ENOUGH_NEGATIVES = 2, 1


class Draft:
    """Sentences for one sample, gathered over as many answers as needed.

    Attributes:
        paraphrases: at most four.
        negatives: at most three.
    """

    def __init__(self, sample: Sample) -> None:
        self.paraphrases: list[str] = []
        self.negatives: list[HardNegative] = []
        self._sample = sample
        self._values = [normalise_text(value) for value in sample.slots.values()]
        self._seen = {normalise_text(sample.text)}

    @property
    def is_enough(self) -> bool:
        """Whether no further question is needed."""
        return len(self.paraphrases) >= ENOUGH_PARAPHRASES and len(self.negatives) >= ENOUGH_NEGATIVES

    def take(self, answer: Mapping[str, Any]) -> str:
        """Take the usable sentences of an answer.

        Returns:
            Why the first unusable sentence is unusable, in a few general words; "" if all are usable.
        """
        paraphrases, negatives = answer.get("paraphrases", []), answer.get("hard_negatives", [])
        if not isinstance(paraphrases, list) or not isinstance(negatives, list):
            return "not the requested shape"
        if not paraphrases and not negatives:
            return "no whole sentence in the answer"
        reasons = []
        for text in paraphrases:
            reason = self._reason_against(text) or self._lost_value(text)
            if not reason and len(self.paraphrases) < PARAPHRASES:
                self.paraphrases.append(self._kept(text))
            reasons.append(reason)
        for one in negatives:
            text, kind = (one.get("text"), one.get("kind")) if isinstance(one, dict) else (None, None)
            reason = self._reason_against(text) or self._no_hard_negative(text, kind)
            if not reason and len(self.negatives) < HARD_NEGATIVES:
                self.negatives.append(HardNegative(self._kept(text), str(kind)))
            reasons.append(reason)
        return next(filter(None, reasons), "")

    def row(self, reason: str) -> dict[str, Any]:
        """What to note: the sentences, or the reason why there are none."""
        if not self.paraphrases and not self.negatives:
            return {"reason": reason}
        return {
            "paraphrases": self.paraphrases,
            "hard_negatives": [{"text": one.text, "kind": one.kind} for one in self.negatives],
        }

    def _kept(self, text: Any) -> str:
        self._seen.add(normalise_text(text))
        return str(text).strip()

    def _lost_value(self, text: str) -> str:
        said = normalise_text(text)
        return "a paraphrase lost a value" if any(value not in said for value in self._values) else ""

    def _no_hard_negative(self, text: Any, kind: object) -> str:
        if kind not in KINDS:
            return "a kind of difference that was not requested"
        far = word_overlap(self._sample.text, text) < LEAST_OVERLAP
        return "a hard negative about something else" if far else ""

    def _reason_against(self, text: Any) -> str:
        if not isinstance(text, str):
            return "not the requested shape"
        anchor = self._sample.text
        ratio = len(text.strip()) / len(anchor)
        if not LEAST_LENGTH_RATIO <= ratio <= MOST_LENGTH_RATIO or len(text.splitlines()) > 1:
            return "several lines, or far too short or long"
        if any("\ud800" <= character <= "\udfff" for character in text):
            return "a lone surrogate"
        if is_cjk(text) != is_cjk(anchor):
            return "another language"
        return "a copy of the sentence or of another" if normalise_text(text) in self._seen else ""


def completed(sample: Sample, row: Mapping[str, Any]) -> tuple[Sample, bool]:
    """A sample with the sentences of a row, completed by the grammar's; and whether none were missing."""
    negatives = [HardNegative(one["text"], one["kind"]) for one in row["hard_negatives"]]
    paraphrases = list(row["paraphrases"])
    seen = {normalise_text(text) for text in [sample.text, *paraphrases, *(one.text for one in negatives)]}
    whole = len(paraphrases) == PARAPHRASES and len(negatives) == HARD_NEGATIVES
    paraphrases += [text for text in sample.paraphrases if _is_new(text, seen)]
    negatives += [one for one in sample.hard_negatives if _is_new(one.text, seen)]
    found = replace(
        sample,
        source="llm",
        paraphrases=tuple(paraphrases[:PARAPHRASES]),
        hard_negatives=tuple(negatives[:HARD_NEGATIVES]),
    )
    return found, whole


def _is_new(text: str, seen: set[str]) -> bool:
    normal = normalise_text(text)
    new = normal not in seen
    seen.add(normal)
    return new

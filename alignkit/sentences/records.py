"""The records of this room: a sentence, and a sample with its paraphrases and hard negatives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from alignkit.sentences.labels import label_of


@dataclass(frozen=True)
class Sentence:
    """One text, as it is in its file.

    Attributes:
        id: distinct within its file.
        text: unchanged except for the line ending; may be blank or a repetition (the caller decides).
        label: an intent, a topic, a paraphrase group: equal labels mean related.
        has_own_id: whether the file names the id; otherwise it is made from the file's name and the row.
    """

    id: str
    text: str
    label: str | None = None
    has_own_id: bool = True


@dataclass(frozen=True)
class HardNegative:
    """A text that looks like its anchor and means something else.

    Attributes:
        kind: how it differs: the name of the slot with another value (`date`, `person`, `amount` ...), `negation`,
            `opposite` (action), `neighbour` (ing intent), or `labelled` if an imported file says so.
    """

    text: str
    kind: str


@dataclass(frozen=True)
class Sample:
    """One row of `dataset.jsonl`: an anchor, texts that mean the same, and texts that nearly do.

    Attributes:
        id: distinct in the set.
        group: shared by all samples of one origin (a situation, a pair, a topic); a group is never split.
        slots: slot name -> its value in `text` and in every paraphrase.
        language: `en`, `zh` or another tag.
        intent: what the text asks for; "" for none.
        source: what made it: `grammar`, `llm`, or the name of an imported file.
    """

    id: str
    text: str
    domain: str
    intent: str
    group: str
    language: str
    source: str
    slots: Mapping[str, str] = field(default_factory=dict)
    paraphrases: tuple[str, ...] = ()
    hard_negatives: tuple[HardNegative, ...] = ()

    def texts(self) -> list[str]:
        """The anchor, its paraphrases and its hard negatives, in this order."""
        return [self.text, *self.paraphrases, *(negative.text for negative in self.hard_negatives)]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, in the order of writing."""
        return {
            "id": self.id,
            "text": self.text,
            "domain": self.domain,
            "intent": self.intent,
            "slots": dict(self.slots),
            "paraphrases": list(self.paraphrases),
            "hard_negatives": [{"text": negative.text, "kind": negative.kind} for negative in self.hard_negatives],
            "language": self.language,
            "source": self.source,
            "group": self.group,
        }

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Sample:
        """The inverse of `to_json`.

        Raises:
            KeyError, TypeError: if `row` is not such a row; the reader names the file and the line.
        """
        return cls(
            id=row["id"],
            text=row["text"],
            domain=row["domain"],
            intent=label_of(row["intent"]) or "",
            group=row["group"],
            language=row["language"],
            source=row["source"],
            slots=dict(row["slots"]),
            paraphrases=tuple(row["paraphrases"]),
            hard_negatives=tuple(HardNegative(text=one["text"], kind=one["kind"]) for one in row["hard_negatives"]),
        )


def texts_of_sample(row: Mapping[str, Any]) -> list[str]:
    """The texts of a sample as it is written."""
    return Sample.from_json(row).texts()

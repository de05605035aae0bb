"""The distinct texts of one import, and counts of those left out, so that nothing is dropped silently."""

from __future__ import annotations

from dataclasses import dataclass

from alignkit.sentences.normalise import normalise_text


@dataclass
class ImportCounts:
    """What happened to the texts of a file.

    Attributes:
        read: texts that were read.
        blank: of these, the blank ones.
        repeated: exact repetitions.
        alike: texts that differ from another only in case, width, spacing or punctuation; `example` shows two.
        equal_pairs: pairs whose two texts are equal in that sense.
        unlabelled: sentences without a label among others that have one.
    """

    read: int = 0
    blank: int = 0
    repeated: int = 0
    alike: int = 0
    equal_pairs: int = 0
    unlabelled: int = 0
    example: tuple[str, str] | None = None

    def line(self) -> str:
        """What to tell the user.

        >>> ImportCounts(read=3, blank=1, alike=1, example=("Hi!", "hi")).line()
        "3 texts read; left out: 1 blank, 1 like another except in case, width, spacing or punctuation ('Hi!' and 'hi')"
        """
        like = " like another except in case, width, spacing or punctuation"
        shown = f" ({self.example[0]!r} and {self.example[1]!r})" if self.example else ""
        left_out = [
            f"{count:,}{what}"
            for count, what in (
                (self.blank, " blank"),
                (self.repeated, " repeated"),
                (self.alike, like + shown),
                (self.equal_pairs, f" pair{'s' * (self.equal_pairs != 1)} of equal texts"),
            )
            if count
        ]
        parts = [f"{self.read:,} texts read"]
        if left_out:
            parts.append(f"left out: {', '.join(left_out)}")
        if self.unlabelled:
            parts.append(f"{self.unlabelled:,} without a label, each a group of its own")
        return "; ".join(parts)


class Pool:
    """Distinct texts, each with a number; runs of spaces and line breaks become one space.

    Args:
        counts: updated along the way.
        repeatable: whether repetitions are normal, as in pairs; they are then not counted as left out.
    """

    def __init__(self, counts: ImportCounts, repeatable: bool = False) -> None:
        self.texts: list[str] = []
        self._counts = counts
        self._repeatable = repeatable
        self._numbers: dict[str, int] = {}

    def add(self, text: str) -> int | None:
        """The text's number; None for a blank one."""
        self._counts.read += 1
        text = " ".join(text.split())
        if not text:
            self._counts.blank += 1
            return None
        known = self._numbers.setdefault(normalise_text(text), len(self.texts))
        if known == len(self.texts):
            self.texts.append(text)
        elif self.texts[known] != text:
            self._counts.alike += 1
            self._counts.example = self._counts.example or (self.texts[known], text)
        elif not self._repeatable:
            self._counts.repeated += 1
        return known

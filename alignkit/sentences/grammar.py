"""Seeds and slot values -> samples: the generator that needs no model and no network."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import zip_longest

from alignkit.errors import ConfigError
from alignkit.sentences.normalise import normalise_text
from alignkit.sentences.records import HardNegative, Sample
from alignkit.sentences.seeds import HARD_NEGATIVES, PARAPHRASES, Seeds, Situation, SlotType
from alignkit.sentences.wordings import Edit, Part, Slot, Wording, fill

# The share of samples with a negative that differs from its anchor only by a date, a figure or a negation. Small
# models hardly see those: in every sample they would fail any student, in none they would pass any.
SUBTLE_SHARE = 0.35
_TRIES = 8


class SituationGrammar:
    """The samples of one situation. Values are numbered, so that a set of integers records which were used."""

    def __init__(self, situation: Situation, slot_types: Mapping[str, SlotType], seed: int) -> None:
        self.situation = situation
        self._rng = random.Random(f"{seed}/{situation.language}/{situation.name}")
        self._types = [slot_types[Slot(name).type] for name in situation.slots]
        # Position of the slot of the same type that stands before (`date` for `date2`): they never hold one value.
        self._twin = [
            situation.slots.index(Slot(name).type) if Slot(name).type != name else None for name in situation.slots
        ]
        self._radices = [
            len(kind.values) - (twin is not None) for kind, twin in zip(self._types, self._twin, strict=True)
        ]
        self._taken: set[int] = set()

    @property
    def capacity(self) -> int:
        """How many samples with distinct slot values there are."""
        return math.prod(self._radices)

    def samples(self, count: int) -> Iterator[Sample]:
        """Yield `count` samples, no two with the same slot values and without an id, which the caller assigns."""
        numbers = self._rng.sample(range(self.capacity), count)
        self._taken = set(numbers)
        for number in numbers:
            yield self._sample(self._decode(number))

    def _sample(self, indices: list[int]) -> Sample:
        values = self._values(indices)
        family = self._rng.choice(self.situation.families)
        parts = family[0].choose(self._rng)
        text = fill(parts, values)
        paraphrases = self._paraphrases(family, values, text)
        negatives = self._negatives(parts, indices, {normalise_text(one) for one in (text, *paraphrases)})
        return Sample(
            id="",
            text=text,
            domain=self.situation.domain,
            intent=self.situation.intent,
            group=self.situation.name,
            language=self.situation.language,
            source="grammar",
            slots=values,
            paraphrases=paraphrases,
            hard_negatives=negatives,
        )

    def _paraphrases(self, family: Sequence[Wording], values: Mapping[str, str], text: str) -> tuple[str, ...]:
        """First a close rewording of the anchor if there is one, then other families, each once if they suffice."""
        others = [one for one in self.situation.families if one is not family]
        self._rng.shuffle(others)
        close = list(family[1:])
        self._rng.shuffle(close)
        wordings = close[:1] + [self._rng.choice(one) for one in others]
        spare = [one for one in (*close[1:], *(one for other in others for one in other)) if one not in wordings]
        self._rng.shuffle(spare)
        found = {normalise_text(text): ""}
        for wording in wordings + spare:
            if len(found) > PARAPHRASES:
                break
            paraphrase = fill(wording.choose(self._rng), values)
            found.setdefault(normalise_text(paraphrase), paraphrase)
        return tuple(found.values())[1:]

    def _negatives(self, parts: tuple[Part, ...], indices: list[int], known: set[str]) -> tuple[HardNegative, ...]:
        """Three texts in the anchor's words that differ in a value or in what they ask for."""
        slots = range(len(indices))
        plain = [("slot", slot) for slot in slots if not self._types[slot].subtle]
        subtle = [("slot", slot) for slot in slots if self._types[slot].subtle]
        edits = [(part.kind, index) for index, part in enumerate(parts) if isinstance(part, Edit)]
        self._rng.shuffle(subtle)
        first = subtle[:1] if self._rng.random() < SUBTLE_SHARE else []
        rest = plain + edits
        self._rng.shuffle(rest)
        order = first + rest + plain * HARD_NEGATIVES + subtle
        negatives: list[HardNegative] = []
        for change, position in order:
            if len(negatives) == HARD_NEGATIVES:
                break
            if change == "slot":
                values = self._values(self._swap(indices, position))
                negative = HardNegative(fill(parts, values), Slot(self.situation.slots[position]).type)
            else:
                negative = HardNegative(fill(parts, self._values(indices), position), change)
            if normalise_text(negative.text) not in known:
                known.add(normalise_text(negative.text))
                negatives.append(negative)
        return tuple(negatives)

    def _swap(self, indices: list[int], slot: int) -> list[int]:
        """Another value in one slot, preferably a combination that no other text uses."""
        held = {index for index, kind in zip(indices, self._types, strict=True) if kind is self._types[slot]}
        swapped = list(indices)
        for _ in range(_TRIES):
            swapped[slot] = self._rng.randrange(len(self._types[slot].values))
            while swapped[slot] in held:
                swapped[slot] = (swapped[slot] + 1) % len(self._types[slot].values)
            number = self._encode(swapped)
            if number not in self._taken:
                self._taken.add(number)
                break
        return swapped

    def _values(self, indices: Sequence[int]) -> dict[str, str]:
        return {
            name: kind.values[index]
            for name, kind, index in zip(self.situation.slots, self._types, indices, strict=True)
        }

    def _decode(self, number: int) -> list[int]:
        indices: list[int] = []
        for radix, twin in zip(self._radices, self._twin, strict=True):
            number, digit = divmod(number, radix)
            # A second value is counted from the one after the first, so it never equals the first.
            indices.append(digit if twin is None else (indices[twin] + 1 + digit) % (radix + 1))
        return indices

    def _encode(self, indices: Sequence[int]) -> int:
        number, weight = 0, 1
        for index, radix, twin in zip(indices, self._radices, self._twin, strict=True):
            digit = index if twin is None else (index - indices[twin] - 1) % (radix + 1)
            number += digit * weight
            weight *= radix
        return number


def seed_samples(seeds: Seeds) -> Iterator[Sample]:
    """Every hand-written sentence unchanged, with a value in each slot: the content of `raw_sentences.jsonl`."""
    for turn, situation in enumerate(seeds.situations):
        values = {}
        for offset, name in enumerate(situation.slots):
            known = seeds.slot_types[Slot(name).type].values
            values[name] = known[(turn * len(situation.slots) + offset) % len(known)]
        for index, family in enumerate(situation.families):
            yield Sample(
                id=f"{seeds.language}-seed-{turn:03d}-{index}",
                text=fill(family[0].choose(), values),
                domain=situation.domain,
                intent=situation.intent,
                group=situation.name,
                language=seeds.language,
                source="hand-written",
                slots=values,
            )


def capacity(seeds: Sequence[Seeds]) -> int:
    """The most samples with distinct slot values that these seeds can make."""
    return sum(SituationGrammar(one, each.slot_types, 0).capacity for each in seeds for one in each.situations)


def generate(seeds: Sequence[Seeds], target: int, seed: int) -> Iterator[Sample]:
    """Yield `target` samples, the situations (and so the languages) taking turns; no two have equal slot values.

    Raises:
        ConfigError: if the seeds cannot make that many; says how many they can.
    """
    by_language = [[SituationGrammar(one, each.slot_types, seed) for one in each.situations] for each in seeds]
    for own in by_language:
        random.Random(f"{seed}/order").shuffle(own)
    grammars = [grammar for turn in zip_longest(*by_language) for grammar in turn if grammar is not None]
    shares = _shares([grammar.capacity for grammar in grammars], target)
    return _take_turns([grammar.samples(share) for grammar, share in zip(grammars, shares, strict=True)])


def _take_turns(waiting: list[Iterator[Sample]]) -> Iterator[Sample]:
    number = 0
    while waiting:
        still = []
        for samples in waiting:
            sample = next(samples, None)
            if sample is not None:
                yield replace(sample, id=f"{sample.language}-{number:07d}")
                number += 1
                still.append(samples)
        waiting = still


def _shares(capacities: Sequence[int], target: int) -> list[int]:
    """Equal shares of `target`; what one situation cannot make, the others do."""
    if target > sum(capacities):
        raise ConfigError(
            f"target={target} is more distinct samples than these seeds can make; the most is {sum(capacities)}; "
            "add situations or slot values, or ask for fewer"
        )
    shares = [0] * len(capacities)
    left = target
    while left:
        open_ = [index for index, most in enumerate(capacities) if shares[index] < most]
        each, extra = divmod(left, len(open_))
        for rank, index in enumerate(open_):
            gained = min(each + (rank < extra), capacities[index] - shares[index])
            shares[index] += gained
            left -= gained
    return shares

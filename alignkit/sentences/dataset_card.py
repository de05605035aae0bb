"""The data card: what is in a built folder, how it was split, and how hard it is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from alignkit.sentences.dataset_writing import Written
from alignkit.sentences.quality import JudgedFigures, TextFigures


def data_card(
    name: str,
    settings: Mapping[str, Any],
    about: str,
    written: Written,
    figures: TextFigures,
    judged: JudgedFigures | None,
) -> str:
    """The text of `README.md`, without dates and paths, so that equal sets have equal cards.

    Args:
        name: the folder's name.
        settings: how it was built.
        about: where the samples came from.
        written: counts.
        figures: measured on the first samples.
        judged: figures by embedders, if any took part.
    """
    sections = [
        f"# {name}",
        f"Short sentences with paraphrases and hard negatives. Made by: {about}.",
        "Settings: " + ", ".join(f"{key}={value}" for key, value in settings.items()) + ".",
        "## Counts\n\n" + _table([(key, f"{value:,}") for key, value in _counts(written)]),
        _counter("Languages", written.languages),
        _counter("Domains", written.domains),
        _counter("Kinds of hard negatives", written.kinds),
        "## Split\n\n" + _split(written),
        "## Quality\n\n" + _quality(figures, judged),
        _FILES,
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _counts(written: Written) -> list[tuple[str, int]]:
    return [
        ("seeds", written.seeds),
        ("samples", written.samples),
        ("texts (anchors, paraphrases, hard negatives)", written.texts),
        ("distinct texts (case, width, punctuation and spacing aside)", written.closed.distinct_texts),
        *((f"{split} samples", count) for split, count in written.splits.items()),
        ("groups", written.groups),
    ]


def _split(written: Written) -> str:
    closed = written.closed
    return (
        f"Split by group: a situation with all its samples, paraphrases and hard negatives is in one split. "
        f"{closed.merged_equal:,} groups were moved to another because they share a text with it, and "
        f"{closed.merged_near:,} because of near-duplicates (Jaccard similarity of character n-grams "
        f"of at least {written.threshold:g}, searched among {closed.near_checked:,} texts). "
        "No text is in two splits."
    )


def _quality(figures: TextFigures, judged: JudgedFigures | None) -> str:
    rows = [
        ("words per text, mean (Chinese: characters)", f"{figures.words_mean:.1f}"),
        ("words per text, 5th to 95th percentile", f"{figures.words_p05:.0f} to {figures.words_p95:.0f}"),
        ("vocabulary", f"{figures.vocabulary:,}"),
        ("paraphrases that share less than 60% of their words with the anchor", _percent(figures.paraphrases_far)),
        ("share of a paraphrase's words that are in its anchor, mean", _percent(figures.paraphrase_overlap)),
        ("share of a hard negative's words that are in its anchor, mean", _percent(figures.negative_overlap)),
    ]
    note = f"Measured on the first {figures.samples:,} samples."
    if judged is not None:
        rows += [
            ("teacher ranks a paraphrase over every hard negative", _percent(judged.judge)),
            (f"{judged.by} alone: Recall@1 of a paraphrase among all other texts", _percent(judged.recall_at_1)),
        ]
        note += f" Embedders saw the first {judged.samples:,}. Near 100% it cannot tell a good head from a bad one."
    else:
        note += " No embedder took part; name some (student=static teacher=minilm) to measure the set with them."
    return _table(rows) + "\n\n" + note


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f}%"


def _counter(title: str, counter: Counter[str]) -> str:
    if not counter:
        return ""
    return f"## {title}\n\n" + _table([(key or "-", f"{counter[key]:,}") for key in sorted(counter)])


def _table(rows: list[tuple[str, str]]) -> str:
    return "\n".join(["| | |", "|---|---:|", *(f"| {key} | {value} |" for key, value in rows)])


_FILES = """## Files

| file | holds |
|---|---|
| `raw_sentences.jsonl` | the hand-written seeds |
| `dataset.jsonl` | one sample per line, with its slots, paraphrases and hard negatives |
| `split.json` | ids of train, validation and test |
| `corpus.jsonl`, `queries.jsonl`, `qrels/*.tsv` | the same in BEIR's layout: anchors search all other texts |
| `sentences.txt` | every text, one per line, for `python -m alignkit.embed` |"""

"""Make samples from other people's files: sentences, intents, pairs, scored pairs, BEIR folders."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from alignkit.errors import DataError
from alignkit.sentences.beir import is_beir, read_beir
from alignkit.sentences.import_pool import ImportCounts, Pool
from alignkit.sentences.normalise import is_cjk
from alignkit.sentences.pair_files import TextPair, read_pairs, read_sts, text_columns
from alignkit.sentences.records import HardNegative, Sample
from alignkit.sentences.seeds import HARD_NEGATIVES, PARAPHRASES
from alignkit.sentences.sentence_files import column_names, read_sentences
from alignkit.sentences.splits import merge_groups
from alignkit.setting_rules import check, one_of, whole

KINDS = ("auto", "sentences", "intents", "pairs", "sts", "beir")
RULES = {"kind": one_of(KINDS), "limit": whole(1).or_null("which takes all")}
# Shares of the highest score in an STS file: at least the first is a paraphrase, at most the second a hard negative.
SAME_FROM, DIFFERENT_UP_TO = 0.8, 0.4


def import_samples(
    path: str | Path,
    kind: str = "auto",
    *,
    text_column: str = "text",
    first_column: str | None = None,
    second_column: str | None = None,
    label_column: str | None = None,
    score_column: str = "score",
    no_intent: Sequence[str] = ("oos",),
    limit: int | None = None,
    counts: ImportCounts | None = None,
) -> Iterator[Sample]:
    """Samples of a file or folder; blank texts and repetitions (when normalised) are left out.

    Args:
        path: a file that `read_rows` reads, or a BEIR folder.
        kind: `sentences` (each on its own), `intents` (sentences of one label are paraphrases), `pairs`, `sts`, `beir`
            (a query's relevant documents are its paraphrases); `auto` looks at the columns.
        text_column: for sentences and intents.
        first_column: for pairs and STS; None looks for a usual name.
        second_column: likewise.
        label_column: for pairs, 1 for the same meaning, 0 for a different one.
        score_column: for STS.
        no_intent: labels, in any case, that name no intent, so that their sentences are not paraphrases.
        limit: most samples; None for all.
        counts: updated while samples are taken.

    Raises:
        ConfigError: for an unknown kind or a limit below 1.
        DataError: from the readers, and if there is no usable sentence.
    """
    check({"kind": kind, "limit": limit}, RULES)
    path = Path(path).expanduser()
    counts = ImportCounts() if counts is None else counts
    columns = (first_column, second_column)
    kind = _guess(path, first_column, score_column) if kind == "auto" else kind
    if kind == "beir":
        samples = _from_beir(path, counts)
    elif kind == "sts":
        samples = _from_pairs(path, _scored(path, columns, score_column), counts)
    elif kind == "pairs":
        samples = _from_pairs(path, read_pairs(path, *columns, label_column), counts)
    else:
        samples = _from_sentences(
            path, text_column, kind == "intents", frozenset(str(one).casefold() for one in no_intent), counts
        )
    numbered = (replace(one, id=f"{path.stem}-{number:07d}") for number, one in enumerate(samples))
    first = next(numbered, None)
    if first is None:
        raise DataError(f"{path} holds no sentence")
    return itertools.islice(itertools.chain([first], numbered), limit)


def _guess(path: Path, first_column: str | None, score_column: str) -> str:
    if path.is_dir():
        if is_beir(path):
            return "beir"
        raise DataError(f"{path} is a folder without corpus.jsonl and queries.jsonl; give a file or a BEIR folder")
    names = column_names(path)
    if first_column or text_columns(names):
        return "sts" if score_column in names else "pairs"
    return "intents" if "label" in names else "sentences"


def _from_sentences(
    path: Path, text_column: str, by_label: bool, no_intent: frozenset[str], counts: ImportCounts
) -> Iterator[Sample]:
    pool = Pool(counts)
    members: dict[tuple[str, int], list[int]] = {}
    for sentence in read_sentences(path, text_column):
        known_texts = len(pool.texts)
        number = pool.add(sentence.text)
        if number is None or number < known_texts:
            continue
        label = sentence.label if by_label else None
        counts.unlabelled += by_label and label is None
        alone = label is None or label.casefold() in no_intent
        members.setdefault(("", number) if alone else (str(label), -1), []).append(number)
    for (label, number), numbers in members.items():
        # "#5" may be a label too
        group = "#" + label if label.startswith("#") else label
        yield from _chunks(path, pool, numbers, group or f"#{number}", label, {})


def _scored(path: Path, columns: tuple[str | None, str | None], score_column: str) -> list[TextPair]:
    found = read_sts(path, *columns, score_column)
    highest = float(found.scores.max())
    pairs: list[TextPair] = []
    for first, second, score in zip(found.first, found.second, found.scores, strict=True):
        clear = score >= SAME_FROM * highest or score <= DIFFERENT_UP_TO * highest
        pairs.append(TextPair(first, second, bool(score >= SAME_FROM * highest) if clear else None))
    return pairs


def _from_pairs(path: Path, pairs: Sequence[TextPair], counts: ImportCounts) -> Iterator[Sample]:
    pool = Pool(counts, repeatable=True)
    linked: list[tuple[int, int, bool | None]] = []
    for pair in pairs:
        first, second = pool.add(pair.first), pool.add(pair.second)
        if first is not None and first == second:
            counts.equal_pairs += 1
        elif first is not None and second is not None:
            linked.append((first, second, pair.same))
    names = [str(number) for number in range(len(pool.texts))]
    groups = merge_groups(names, [(names[one], names[other]) for one, other, _ in linked])
    meanings = merge_groups(names, [(names[one], names[other]) for one, other, same in linked if same])
    unlike: dict[int, list[int]] = {}
    for one, other, same in linked:
        if same is False and meanings[one] != meanings[other]:
            unlike.setdefault(one, []).append(other)
            unlike.setdefault(other, []).append(one)
    members: dict[str, list[int]] = {}
    for number, meaning in enumerate(meanings):
        members.setdefault(meaning, []).append(number)
    for numbers in members.values():
        # More texts of one meaning than fit in a sample: the name of the meaning keeps them together.
        meaning = f"meaning-{numbers[0]}" if len(numbers) > 1 + PARAPHRASES else ""
        yield from _chunks(path, pool, numbers, groups[numbers[0]], meaning, unlike)


def _from_beir(folder: Path, counts: ImportCounts) -> Iterator[Sample]:
    found = read_beir(folder, split=None)
    pool = Pool(counts)
    numbers = {one: pool.add(text) for one, text in zip(found.corpus_ids, found.corpus_texts, strict=True)}
    asked = {one: pool.add(text) for one, text in zip(found.query_ids, found.query_texts, strict=True)}
    names = [str(number) for number in range(len(pool.texts))]
    relevant: dict[int, list[int]] = {}
    for query_id, grades in found.qrels.items():
        query = asked[query_id]
        best = sorted((one for one, grade in grades.items() if grade > 0), key=lambda one: -grades[one])
        documents = [number for one in best if (number := numbers[one]) is not None and number != query]
        if query is not None:
            relevant.setdefault(query, []).extend(documents)
    links = [(names[query], names[document]) for query, documents in relevant.items() for document in documents]
    groups = merge_groups(names, links)
    kept: set[int] = set(relevant)
    for query, documents in relevant.items():
        answers = list(dict.fromkeys(documents))[:PARAPHRASES]
        kept.update(answers)
        yield from _chunks(folder, pool, [query, *answers], groups[query], "", {})
    for number in range(len(pool.texts)):
        if number not in kept:
            yield from _chunks(folder, pool, [number], groups[number], "", {})


def _chunks(
    path: Path, pool: Pool, numbers: Sequence[int], group: str, intent: str, unlike: Mapping[int, Sequence[int]]
) -> Iterator[Sample]:
    """Texts of one meaning as samples of an anchor and up to four paraphrases, each text once."""
    for start in range(0, len(numbers), 1 + PARAPHRASES):
        part = numbers[start : start + 1 + PARAPHRASES]
        texts = [pool.texts[number] for number in part]
        others = list(dict.fromkeys(other for number in part for other in unlike.get(number, ())))
        yield Sample(
            id="",
            text=texts[0],
            domain=path.stem,
            intent=intent,
            group=f"{path.stem}/{group}",
            language="zh" if is_cjk(texts[0]) else "en",
            source=path.name,
            paraphrases=tuple(texts[1:]),
            hard_negatives=tuple(HardNegative(pool.texts[other], "labelled") for other in others[:HARD_NEGATIVES]),
        )

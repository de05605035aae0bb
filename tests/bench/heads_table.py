"""All heads on both kinds of student, as the README shows them: python tests/bench/heads_table.py FOLDER

FOLDER holds `clinc150` (https://github.com/clinc/oos-eval: `train.jsonl`, `test.jsonl` …, one JSON object with a `text`
a line), `sentences_en/sentences.tsv` (a column `text`), and to judge by `stackfaq` and `ir_cranfield` (BEIR folders)
and `stsb/test.jsonl` (`en1`, `en2`, `score`). Needs the extra `local`.

Each head is fitted by its YAML, its settings chosen on a tenth of the training pairs: on clinc150 then once more on all
of them, as `python -m alignkit.train … refit=true` does; on the sentences its queries are whitened where that tenth
says so, as in any run.

All rows of both students take 80 to 120 CPU minutes, the trained ones nearly all of them; the time of each is printed.
Every row is kept as soon as it is known: the same command goes on where it was interrupted, and prints the whole table.
Rows are measured again once heads, losses, training or their YAMLs have changed. Several processes may share the work,
each with the rows or the student that it is given; the whole command then prints what they made.

To make some rows only: python tests/bench/heads_table.py FOLDER orthogonal "mlp model.hidden=5000"
To make one student's: python tests/bench/heads_table.py FOLDER student=static
To train on another number of the sentences than 24,000: python tests/bench/heads_table.py FOLDER sentences=48000
Vectors and rows are kept in `outputs/heads_table`, so that further rows need no model.
"""

from __future__ import annotations

import functools
import hashlib
import json
import random
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from scipy.stats import spearmanr

import alignkit
from alignkit.commandline import conf_folder, plain
from alignkit.embedders.base import embed_all
from alignkit.estimator.plan import fitter_of
from alignkit.files import write_whole
from alignkit.metrics.alignment import overlap_at_k
from alignkit.metrics.retrieval import Qrels, ndcg_at_k
from alignkit.pairs.base import Pairs, PairSplits
from alignkit.parts import build_part
from alignkit.sentences.beir import BeirSet, read_beir
from alignkit.training.fit import FitResult
from alignkit.training.whitening_choice import choose_whitening
from alignkit.vectors import cosine, l2_normalize, top_k

KEPT = Path("outputs/heads_table")
TEACHER, STUDENTS = "minilm", ("two_layer", "static")
SENTENCES, COUNT = "sentences_en", "24000"
# a document of the FAQ is its question, to which the queries are paraphrases
SETS = {"stackfaq": "title", "ir_cranfield": "title+text"}
# what decides a row, besides this file
ROOMS, GROUPS = ("heads", "losses", "training"), ("model", "loss")
# of the settings of train, what only Hydra can fill in
NOT_FITTED = ("data", "student", "teacher")
CLOSED_FORM = "trainer.max_epochs=0"
# the row as the table calls it → overrides
ROWS = {
    "linear": ("model=linear", CLOSED_FORM),
    "orthogonal": ("model=orthogonal",),
    "low_rank": ("model=low_rank", CLOSED_FORM),
    "local_mixture": ("model=local_mixture", CLOSED_FORM),
    "random_features": ("model=random_features", CLOSED_FORM),
    "random_features loss=rank_kl": ("model=random_features", "loss=rank_kl"),
    "random_features model.features=8192 loss=rank_kl": (
        "model=random_features", "model.features=8192", "loss=rank_kl",
    ),
    "kernel": ("model=kernel",),
    "kernel model.landmarks=4096": ("model=kernel", "model.landmarks=4096"),
    "kernel_mlp": ("model=kernel_mlp",),
    "mlp model.hidden=512": ("model=mlp", "model.hidden=512"),
    "mlp": ("model=mlp",),
    "mlp model.hidden=5000": ("model=mlp", "model.hidden=5000"),
}  # fmt: skip
HEADER = (
    "| `model=` | cosine | overlap@10 | fit (CPU s) | StackFAQ nDCG@10, share of the teacher's | Cranfield, likewise | "
    "STS-B, Spearman with people | multiplications a query (M) | size (MB) |"
)


@dataclass(frozen=True)
class Texts:
    """All texts by the name of their set, and what was judged of some."""

    by_set: dict[str, list[str]]
    retrieval: dict[str, BeirSet]
    scores: list[float]


def main(folder: Path, words: Sequence[str]) -> None:
    """Print a table for each student, a row as soon as it is known."""
    torch.set_num_threads(1)  # CPU seconds of several threads are no one's seconds
    asked = dict(word.split("=", 1) for word in words if word.startswith(("sentences=", "student=")))
    only = [word for word in words if not word.startswith(("sentences=", "student="))]
    if unknown := [row for row in only if row not in ROWS]:
        sys.exit(f"no row {unknown[0]!r}; rows: {', '.join(ROWS)}")
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        count = int(asked.get("sentences", COUNT))
        texts = read(folder, count)
        teacher = {name: vectors(TEACHER, name, some) for name, some in texts.by_set.items()}
        for student in STUDENTS:
            if asked.get("student", student) != student:
                continue
            given = {name: vectors(student, name, some) for name, some in texts.by_set.items()}
            print(f"\n{student}\n\n{HEADER}\n|---|{'---:|' * 8}", flush=True)
            for row, overrides in ROWS.items():
                if not only or row in only:
                    cells = kept(f"{student}, {count} sentences, {overrides}", row, given, teacher, texts)
                    print(f"| `{row}` | {' | '.join(cells)} |", flush=True)


def kept(
    name: str, row: str, given: dict[str, torch.Tensor], teacher: dict[str, torch.Tensor], texts: Texts
) -> list[str]:
    """The cells of a row, from disk where they were measured by the same code before."""
    path = KEPT / "rows" / f"{hashlib.sha256(f'{name} {code_digest()}'.encode()).hexdigest()[:16]}.json"
    if not path.is_file():
        start = time.process_time()
        cells = [*at_home(given, teacher, ROWS[row]), *away(given, teacher, texts, ROWS[row])]
        print(f"{name}: {time.process_time() - start:.0f} CPU s", file=sys.stderr, flush=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, json.dumps({"row": name, "cells": cells}))
    return list(json.loads(path.read_text(encoding="utf-8"))["cells"])


@functools.cache
def code_digest() -> str:
    """Of everything that decides what a head becomes."""
    package = Path(alignkit.__file__).parent
    files = [path for room in ROOMS for path in sorted((package / room).rglob("*.py"))]
    files += [path for group in GROUPS for path in sorted((conf_folder() / group).rglob("*.yaml"))]
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()


def at_home(given: dict[str, torch.Tensor], teacher: dict[str, torch.Tensor], overrides: Sequence[str]) -> list[str]:
    """Cosine and overlap@10 on clinc150's test split, and how long the fit took."""
    start = time.process_time()
    head = fit(given["clinc_train"], teacher["clinc_train"], overrides, refit=True)[0].head
    seconds = time.process_time() - start
    aligned = map_all(head, given["clinc_test"])
    overlap = overlap_at_k(aligned, teacher["clinc_test"], most=len(aligned)).mean()
    return [share(cosine(aligned, teacher["clinc_test"]).mean()), share(overlap), f"{seconds:.1f}"]


def away(
    given: dict[str, torch.Tensor], teacher: dict[str, torch.Tensor], texts: Texts, overrides: Sequence[str]
) -> list[str]:
    """Figures on texts unlike the sentences that the head was fitted on, and what a query costs."""
    result, splits = fit(given[SENTENCES], teacher[SENTENCES], overrides, refit=None)
    queries = whitened(result, splits)
    cells = []
    for name, judged in texts.retrieval.items():
        documents = teacher[f"{name}_documents"]
        found = ndcg(queries(given[f"{name}_queries"]), documents, judged)
        cells.append(f"{100 * found / ndcg(teacher[f'{name}_queries'], documents, judged):.1f}%")
    first = map_all(result.head, given["stsb_first"])  # whitened queries are for search: similarities are the head's
    similarities = cosine(first, teacher["stsb_second"])
    cells.append(share(spearmanr(similarities.numpy(), texts.scores).statistic))
    cost = result.head.cost()
    return [*cells, f"{cost['flops_per_query'] / 2e6:.2f}", f"{4 * cost['parameters'] / 1e6:.1f}"]


def whitened(result: FitResult, splits: PairSplits) -> Callable[[torch.Tensor], torch.Tensor]:
    """What maps the students of queries, as a run would keep it."""
    part = choose_whitening(result.kept, splits).part
    # behind what the head itself gives, whose length counts: the shift of a whitening is relative to it
    return functools.partial(map_all, result.head if part is None else torch.nn.Sequential(result.head, part))


def ndcg(queries: torch.Tensor, documents: torch.Tensor, judged: BeirSet) -> float:
    """Mean nDCG@10."""
    row = {one: place for place, one in enumerate(judged.corpus_ids)}
    triples = [
        (place, row[document], grade)
        for place, query in enumerate(judged.query_ids)
        for document, grade in judged.qrels[query].items()
        if grade > 0
    ]
    qrels = Qrels.of(*zip(*triples, strict=True), (len(judged.query_ids), len(row)))
    return float(np.nanmean(ndcg_at_k(qrels.judge(top_k(queries, documents, 10)[1].numpy()), 10)))


def read(folder: Path, count: int) -> Texts:
    """Everything that FOLDER holds."""
    clinc = {
        name: [json.loads(line)["text"] for part in parts for line in lines(folder / "clinc150" / f"{part}.jsonl")]
        for name, parts in {
            "clinc_train": ("train", "val", "oos_train", "oos_val"),
            "clinc_test": ("test", "oos_test"),
        }.items()
    }
    sentences = [line.split("\t")[0] for line in lines(folder / SENTENCES / "sentences.tsv")[1:]]
    random.Random(0).shuffle(sentences)  # noqa: S311
    retrieval = {name: read_beir(folder / name, document=document) for name, document in SETS.items()}
    sts = [json.loads(line) for line in lines(folder / "stsb" / "test.jsonl")]
    by_set = {
        **clinc,
        SENTENCES: sentences[:count],
        **{f"{name}_documents": judged.corpus_texts for name, judged in retrieval.items()},
        **{f"{name}_queries": judged.query_texts for name, judged in retrieval.items()},
        "stsb_first": [one["en1"] for one in sts],
        "stsb_second": [one["en2"] for one in sts],
    }
    return Texts(by_set, retrieval, [float(one["score"]) for one in sts])


def lines(path: Path) -> list[str]:
    """Of a text file."""
    return path.read_text(encoding="utf-8").splitlines()


def vectors(name: str, of: str, texts: list[str]) -> torch.Tensor:
    """`(N, D)` of length 1, from disk where they were made before."""
    path = KEPT / f"{of}-{len(texts)}.{name}.npy"
    if not path.is_file():
        found = embed_all(build_part(plain_settings(name)), [text.strip() or "untitled" for text in texts])
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, found)
    return l2_normalize(torch.from_numpy(np.load(path)))


def fit(
    student: torch.Tensor, teacher: torch.Tensor, overrides: Sequence[str], *, refit: bool | None
) -> tuple[FitResult, PairSplits]:
    """By the YAMLs, choosing on a tenth."""
    settings = plain_settings(None, *overrides)
    order = np.random.default_rng(0).permutation(len(student))
    held_out = len(order) // 10
    rows = {"validation": order[:held_out], "train": order[held_out:], "test": order[:2]}
    splits = PairSplits(
        **{
            name: Pairs([str(row) for row in part], student[part].numpy(), teacher[part].numpy())
            for name, part in rows.items()
        }
    )
    return fitter_of(settings, settings["model"], None).fit(splits, refit=refit), splits


def plain_settings(embedder: str | None, *overrides: str) -> dict[str, Any]:
    """Of an embedder, or of `train` without what only a run has."""
    if embedder is not None:
        return dict(plain(compose("train", overrides=[f"embedder@student={embedder}"]).student))
    config = compose("train", overrides=[*overrides, "device=cpu"])
    return dict(plain(OmegaConf.masked_copy(config, [name for name in config if name not in NOT_FITTED])))


@torch.inference_mode()
def map_all(head: torch.nn.Module, students: torch.Tensor) -> torch.Tensor:
    """`(N, teacher_dim)` of length 1."""
    return torch.cat([l2_normalize(head(part)) for part in students.split(1024)])


def share(figure: Any) -> str:
    """As the README writes what lies between 0 and 1."""
    return f"{float(figure):.3f}".removeprefix("0")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])

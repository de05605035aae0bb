"""Make the demo pack again from the CLINC150 sentences: python -m alignkit.resources.rebuild_demo FOLDER.

FOLDER holds `train.jsonl` and `test.jsonl` with `id`, `text`, `label`, `domain` (github.com/clinc/oos-eval, CC BY 3.0).
Needs the extra `local`. The same sentences and models give the same pack, but for the last bit of a float16. After it,
`alignkit.tables.demo_table` makes the pack's table.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from alignkit.embedders.base import Embedder, embed_all
from alignkit.embedders.minilm import MinilmEmbedder
from alignkit.embedders.static import StaticEmbedder
from alignkit.embedders.two_layer import TwoLayerEmbedder
from alignkit.resources.demo_pack import PACK
from alignkit.sentences.normalise import normalise_text

TRAIN_PER_INTENT, TEST_PER_INTENT = 20, 4
SEED = 0


def pick(records: Iterable[dict[str, str]], per_intent: int, taken: set[str]) -> list[dict[str, str]]:
    """A seeded choice of `per_intent` sentences an intent; texts in `taken` are skipped, chosen ones added to it."""
    by_intent: dict[str, list[dict[str, str]]] = {}
    for record in records:
        by_intent.setdefault(record["label"], []).append(record)
    generator = np.random.default_rng(SEED)
    picked = []
    for intent in sorted(by_intent):
        left = per_intent
        for position in generator.permutation(len(by_intent[intent])):
            record = by_intent[intent][position]
            text = normalise_text(record["text"])
            if left and text not in taken:
                taken.add(text)
                picked.append(record)
                left -= 1
    return picked


def rebuild(folder: Path) -> None:
    """Choose the sentences, embed them with the teacher and both students, write the pack."""
    taken: set[str] = set()
    records = []
    for split, per_intent in (("test", TEST_PER_INTENT), ("train", TRAIN_PER_INTENT)):
        lines = (folder / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()
        chosen = pick((json.loads(line) for line in lines), per_intent, taken)
        records += [{key: record[key] for key in ("id", "text", "label", "domain")} | {"split": split}
                    for record in chosen]  # fmt: skip
    texts = [record["text"] for record in records]
    embedders: dict[str, Embedder] = {
        "teacher": MinilmEmbedder(),
        "two_layer": TwoLayerEmbedder(),
        "static": StaticEmbedder(),
    }
    identities = {}
    PACK.mkdir(exist_ok=True)
    for name, embedder in embedders.items():
        np.save(PACK / f"{name}.npy", embed_all(embedder, texts).astype(np.float16))
        identities[name] = embedder.identity()
    lines = [json.dumps(record, ensure_ascii=False) for record in records]
    (PACK / "sentences.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")
    about = {"identities": identities, "licence": "CC BY 3.0", "source": "CLINC150, github.com/clinc/oos-eval"}
    (PACK / "pack.json").write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8", newline="\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path)
    rebuild(parser.parse_args().folder)

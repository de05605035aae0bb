"""`data=demo`: real sentences with real vectors, inside the package."""

from __future__ import annotations

import json

import numpy as np

from alignkit.errors import ConfigError
from alignkit.pairs.base import Origin, Pairs, PairSplits, no_student
from alignkit.resources.demo_pack import PACK, about_pack
from alignkit.sentences.splits import merge_equal_texts, split_groups
from alignkit.sentences.text_fields import QUERIES, FieldRows, TextsIn

STUDENTS = ("table", "two_layer", "static")


def load_demo(student: str | None = "two_layer", seed: int = 0, validation: float = 0.1) -> PairSplits:
    """The packaged pairs: CLINC150 sentences, teacher all-MiniLM-L6-v2.

    Args:
        student: `table`, `two_layer` or `static`; `None` gives the teacher's side alone.
        seed: of the validation split, which is taken off the 3,000 training sentences.
        validation: its share.

    Raises:
        ConfigError: for another student.
    """
    if student is not None and student not in STUDENTS:
        raise ConfigError(
            f"student={student}: the demo pack holds vectors of {', '.join(STUDENTS[:-1])} and {STUDENTS[-1]}; "
            "take one of them, or data=cached with your own sentences"
        )
    lines = (PACK / "sentences.jsonl").read_text(encoding="utf-8").splitlines()
    records = [json.loads(line) for line in lines]
    about = about_pack()
    vectors = {name: np.load(PACK / f"{name}.npy", allow_pickle=False) for name in (student, "teacher") if name}
    test = np.array([row for row, record in enumerate(records) if record["split"] == "test"])
    train = np.array([row for row, record in enumerate(records) if record["split"] == "train"])
    groups = merge_equal_texts([records[row]["text"] for row in train])
    kept, held_out, _ = split_groups(groups, seed=seed, validation=validation, test=0.0)

    def take(rows: np.ndarray) -> Pairs:
        return Pairs(
            ids=[records[row]["id"] for row in rows],
            student=vectors[student][rows] if student else no_student(len(rows)),
            teacher=vectors["teacher"][rows],
            texts=[records[row]["text"] for row in rows],
            labels=[records[row]["label"] for row in rows],
            groups=[records[row]["domain"] for row in rows],
        )

    origin = Origin(
        source=f"demo pack: {len(records):,} real sentences of CLINC150 ({about['licence']})",
        real=True,
        split="the data set's own test sentences; validation is a seeded tenth of its training sentences",
        student_identity=about["identities"][student] if student else None,
        teacher_identity=about["identities"]["teacher"],
        fields=(FieldRows("the demo pack", QUERIES, TextsIn(), records),),
    )
    return PairSplits(train=take(train[kept]), validation=take(train[held_out]), test=take(test), origin=origin)

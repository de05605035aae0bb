"""How a student is trained with its head, unless somebody says otherwise; the figures behind it are measured.

12,000 everyday sentences and requests, MiniLM as the teacher, a table of its word pieces under an `mlp`, five epochs;
cosine and overlap@10 on CLINC150, .793 and .666 before: with a student rate of 3e-4 .833 and .722, 1e-3 .844 and .732,
3e-3 .849 and .733. A head rate of 5e-3 instead of 2e-3 loses half a point of cosine and a point on Cranfield. A head
that was trained alone before does no better than one in its closed form. 136,000 texts and six epochs at 2e-3, 136 s on
one CPU thread: .897 and .790, from .787 and .661.

A table that was fitted to the texts in closed form is a start that such a rate destroys. 38,000 texts of both kinds,
eight epochs under an `mlp`; cosine and overlap@10 on CLINC150, then StackFAQ and Cranfield: 2e-3 .888, .771, 94.7%,
80.6%; 3e-4 .892, .777, 95.2%, 81.8%; 1e-4 .890, .774, 95.2%, 82.6%. 29 epochs at 3e-4 .890, .779, 94.4%, 80.9%.
"""

from __future__ import annotations

from alignkit.distillation.table_student import TableStudent
from alignkit.distillation.trainable_student import TrainableStudent
from alignkit.heads.base import Head
from alignkit.training.recipe import Recipe

# the loss, by the name of its YAML
LOSS = "cos_rank"
# peak rates of a head that starts from its closed form: of its fastest layer, where it tells its layers apart, and of
# a single linear map
LAYERS_RATE, LINEAR_RATE = 2e-3, 1e-4
MOST_EPOCHS = 30
# of a table that was fitted to its texts before
FITTED_EPOCHS = 8
# texts after which more epochs bring little for their time: an hour of two CPU cores for two layers, 20 minutes for a
# table
TRANSFORMER_TEXTS, TABLE_TEXTS = 1_200_000, 4_000_000


def recipe_for(student: TrainableStudent, head: Head) -> Recipe:
    """The recipe of a student and the head on top of it; `Recipe.for_pairs` settles the epochs.

    Args:
        student: its kind decides how long it is trained; its own rate is `student.rate`.
        head: `lr` is its rate.
    """
    return Recipe(
        loss=LOSS,
        batch_size=512,
        max_epochs=FITTED_EPOCHS if student.is_fitted else MOST_EPOCHS,
        enough_pairs=TABLE_TEXTS if isinstance(student, TableStudent) else TRANSFORMER_TEXTS,
        lr=LAYERS_RATE if head.rates() else LINEAR_RATE,
        weight_decay=0.01,
        schedule="one_cycle",
        gradient_clip_val=1.0,
        select_by="val/overlap@10",
    )

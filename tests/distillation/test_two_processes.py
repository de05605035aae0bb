"""Two processes train one student: each on its texts, both with the same weights in the end."""

import os
import sys

import pytest
import torch
from ports import quiet_port
from two_processes import forks

from alignkit.distillation.trainable import trainable
from alignkit.distillation.tuning import tune
from alignkit.embedders.sentence_transformer import SentenceTransformerEmbedder
from alignkit.heads.linear import LinearHead
from alignkit.losses.rank_kl import RankKlLoss
from alignkit.training.device import Device
from alignkit.training.recipe import Recipe
from alignkit.training.solver_batches import SolverBatches

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="gloo over several processes is slow to start there")


def train(rank, port, folder, student_folder, splits):
    os.environ.update(
        MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), WORLD_SIZE="2", NODE_RANK="0", LOCAL_RANK=str(rank)
    )
    torch.set_num_threads(1)
    torch.manual_seed(rank)
    student = trainable(SentenceTransformerEmbedder(student_folder, device="cpu"))
    head = LinearHead(splits.train.student_dim, splits.train.teacher_dim)
    head.solve(SolverBatches(splits.train, device=torch.device("cpu")), chosen={"ridge_lambda": 1e-3})
    recipe = Recipe(batch_size=16, max_epochs=4, lr=1e-2, schedule="one_cycle", gradient_clip_val=1.0,
                    select_by="val/cosine_mean")  # fmt: skip
    result = tune(
        student, head, splits, loss=RankKlLoss(), recipe=recipe, device=Device("cpu", "32-true", "test"), seed=0,
        run_folder=None, trainer_settings={"devices": 2, "strategy": "ddp"}, student_lr=1e-2,
    )  # fmt: skip
    assert result.improved and result.is_main_process == (rank == 0), result.reason
    torch.save({**student.state_dict(), **result.head.state_dict()}, folder / f"rank{rank}.pt")


@pytest.mark.parametrize("kind", ["table", "transformer"])
def test_two_processes_end_with_the_same_student(kind, students, make_splits, tmp_path):
    splits = make_splits(SentenceTransformerEmbedder(str(students[kind]), device="cpu"))
    context, port = forks(), quiet_port()
    ranks = [context.Process(target=train, args=(rank, port, tmp_path, str(students[kind]), splits)) for rank in (0, 1)]
    for rank in ranks:
        rank.start()
    for rank in ranks:
        rank.join()
    assert [rank.exitcode for rank in ranks] == [0, 0]
    one, two = (torch.load(tmp_path / f"rank{rank}.pt", weights_only=True) for rank in (0, 1))
    assert all(torch.equal(value, two[name]) for name, value in one.items())

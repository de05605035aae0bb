"""Train a head that maps the student's vectors into the teacher's space, and say what it is worth."""

from __future__ import annotations

from alignkit.commandline import command

EXAMPLES = (
    "python -m alignkit.train model=linear loss=cos_mse",
    "python -m alignkit.train data=vectors data.student=student.npy data.teacher=teacher.npy",
    "python -m alignkit.train -m model=linear,mlp seed=0,1",
    "python -m alignkit.train -m hydra/sweeper=alignkit_optuna model=linear,mlp 'lr=tag(log,interval(1e-4,1e-2))'",
    "python -m alignkit.train update=outputs/train/2026-01-31_12-00-00 data=cached data.path=new.jsonl",
    "python -m alignkit.train resume=outputs/train/2026-01-31_12-00-00",
)

main = command(
    "train",
    __doc__,
    EXAMPLES,
    texts=(
        "resume",
        "update",
        "cache_dir",
        "objective",
        "schedule",
        "select_by",
        "forget.student",
        "forget.teacher",
        "forget.sentences",
    ),
    completed=("student",),
    run_folder=True,
    speaks=True,
)

if __name__ == "__main__":
    main()

"""Train a student of your own with its head, or make one from the teacher alone, and say what that is worth.

The head alone comes first, then student and head together; what is not surely better is not kept. The run folder holds
the student beside its head, and every command that is given the folder finds both.
"""

from __future__ import annotations

from alignkit.commandline import command

EXAMPLES = (
    "python -m alignkit.distill data=cached data.path=sentences.txt student=table teacher=minilm",
    "python -m alignkit.distill data=cached data.path=sentences.txt student=table trainer.max_epochs=0",
    "python -m alignkit.distill data=built data.path=dataset student=two_layer model=mlp",
    "python -m alignkit.distill resume=outputs/distill/2026-01-31_12-00-00",
)

main = command(
    "distill",
    __doc__,
    EXAMPLES,
    texts=("resume", "cache_dir", "objective", "schedule", "select_by", "check_on"),
    run_folder=True,
    speaks=True,
)

if __name__ == "__main__":
    main()

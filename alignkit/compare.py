"""Compare runs: figures with intervals, what a query costs on this CPU, and the runs that no other one beats in both.

Takes runs of train, distill and evaluate, the folder of a sweep, or a folder with many of them. Runs for another
teacher, or measured on another set, stand in a table of their own.
"""

from __future__ import annotations

from alignkit.commandline import command

EXAMPLES = (
    "python -m alignkit.compare outputs/train/RUN outputs/train/OTHER",
    "python -m alignkit.compare outputs/train",
    "python -m alignkit.compare outputs/train/SWEEP objective=val/cosine_p50",
)

main = command("compare", __doc__, EXAMPLES, texts=("objective",), run_folder=True, listed="runs")

if __name__ == "__main__":
    main()

"""Say whether a head is still as good as its report, on the queries that really come.

The teacher is asked for a random sample of them; what the head finds is held against what the teacher finds, and
against the held-out texts of the training. Look as often as you like: all looks together raise a false alarm with a
probability of at most 5%. Exit code 3 means worse. budget=0 asks nobody, and says how unlike the training sentences the
queries are.
"""

from __future__ import annotations

from alignkit.commandline import command

EXAMPLES = (
    "python -m alignkit.watch head=outputs/train/RUN queries=live.jsonl",
    "python -m alignkit.watch head=outputs/train/RUN queries=live.jsonl corpus=index.npy budget=100",
    "python -m alignkit.watch head=outputs/train/RUN queries=live.jsonl index=pgvector index.table=docs",
    "python -m alignkit.watch head=outputs/train/RUN queries=live.jsonl budget=0",
    "python -m alignkit.watch head=outputs/train/RUN queries=FOLDER_OF_QUERY_LOG",
)

main = command(
    "watch",
    __doc__,
    EXAMPLES,
    texts=("head", "queries", "text_column", "corpus", "cache_dir"),
    run_folder=True,
    speaks=True,
    completed=("student", "teacher"),
)

if __name__ == "__main__":
    main()

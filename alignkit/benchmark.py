"""Run MTEB's tasks, and folders of your own as such, on a head, its teacher and its student.

Queries are embedded by the student and the head, documents by the teacher, through the vector cache. Results are
written in MTEB's own files, and a table says what share of the teacher's score the head keeps, with intervals.
"""

from __future__ import annotations

from alignkit.commandline import command

EXAMPLES = (
    "python -m alignkit.benchmark head=outputs/train/RUN tasks=[faq]",
    "python -m alignkit.benchmark tasks=[faq] group_by=department",
    "python -m alignkit.benchmark tasks=[STSBenchmark,NFCorpus,Banking77Classification]",
    "python -m alignkit.benchmark tasks=[faq] rows=[aligned] name=my-org/my-model",
)

main = command(
    "benchmark",
    __doc__,
    EXAMPLES,
    texts=("head", "tasks", "name", "split", "document", "group_by", "cache_dir"),
    run_folder=True,
    speaks=True,
    completed=("student", "teacher"),
)

if __name__ == "__main__":
    main()

"""Say what a head is worth: against its teacher, the student's own index and simpler maps, with intervals."""

from __future__ import annotations

from alignkit.commandline import command

EXAMPLES = (
    "python -m alignkit.evaluate head=outputs/train/RUN",
    "python -m alignkit.evaluate data=beir data.path=faq student=ollama teacher=ollama",
    "python -m alignkit.evaluate data=sts data.path=pairs.jsonl",
    "python -m alignkit.evaluate data=beir data.path=faq group_by=department",
    "python -m alignkit.evaluate codes=int8,binary,dims=256",
    "python -m alignkit.evaluate 'require={recall@10: 0.9, share_of_teacher: 0.95}'",
)

main = command(
    "evaluate",
    __doc__,
    EXAMPLES,
    texts=("head", "cache_dir", "search", "codes", "group_by"),
    run_folder=True,
    speaks=True,
    completed=("student", "teacher"),
)

if __name__ == "__main__":
    main()

"""Look at what a head finds: student, aligned and teacher side by side for the same sentences."""

from __future__ import annotations

from alignkit.commandline import command

EXAMPLES = (
    "python -m alignkit.demo",
    "python -m alignkit.demo head=outputs/train/RUN samples=3 topk=10",
    "python -m alignkit.demo interactive=true",
    "python -m alignkit.demo data=beir data.path=faq student=ollama teacher=ollama",
)

main = command("demo", __doc__, EXAMPLES, texts=("head", "cache_dir"), completed=("student", "teacher"), speaks=True)

if __name__ == "__main__":
    main()

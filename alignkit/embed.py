"""Embed sentences once and keep the vectors; list, check, prune or merge what is kept.

A run that was interrupted goes on where it was when the same command is given again.
"""

from __future__ import annotations

from alignkit.commandline import command

EXAMPLES = (
    "python -m alignkit.embed which=both sentences=sentences.txt student=static teacher=minilm",
    "python -m alignkit.embed which=teacher sentences=faq.csv text_column=question teacher.model=qwen2.5:7b",
    "python -m alignkit.embed sentences=sentences.jsonl save_to=vectors",
    "python -m alignkit.embed which=aligned head=outputs/train/RUN sentences=sentences.jsonl save_to=vectors",
    "python -m alignkit.embed action=list",
    "python -m alignkit.embed action=prune teacher=minilm which=teacher confirm=true",
    "python -m alignkit.embed action=merge other=/mnt/gpu-machine/cache",
)

main = command(
    "embed",
    __doc__,
    EXAMPLES,
    texts=("action", "which", "sentences", "text_column", "cache_dir", "role", "dtype", "save_to", "other", "head"),
    completed=("student", "teacher"),
)

if __name__ == "__main__":
    main()

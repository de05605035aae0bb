"""Choose which sentences the teacher should embed, within a budget of calls.

The student embeds the sentences; the chosen ones stand for all others in its space. What the teacher has embedded
before costs nothing and is not chosen again.
"""

from __future__ import annotations

from alignkit.commandline import command

EXAMPLES = (
    "python -m alignkit.choose sentences=all.txt budget=2000 student=static out=chosen.txt",
    "python -m alignkit.choose sentences=all.csv text_column=question budget=500 student=static teacher=minilm",
    "python -m alignkit.choose sentences=live.jsonl budget=1000 already=outputs/train/RUN",
    "python -m alignkit.choose sentences=all.txt teacher=openai teacher.model=m teacher.price_per_million_tokens=0.13",
)

main = command(
    "choose",
    __doc__,
    EXAMPLES,
    texts=("sentences", "text_column", "already", "cache_dir", "role", "out"),
    completed=("student", "teacher"),
)

if __name__ == "__main__":
    main()

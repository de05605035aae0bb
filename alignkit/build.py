"""Build a set of short sentences with paraphrases and hard negatives, or import your own sentences.

The folder it writes is what `data=built data.path=FOLDER` trains on; `sentences.txt` in it is what `embed` reads.
"""

from __future__ import annotations

from alignkit.commandline import command

EXAMPLES = (
    "python -m alignkit.build target=1000 language=en out=data/short_sentences",
    "python -m alignkit.build language=mixed seed=7 out=data/both student=static teacher=minilm",
    "python -m alignkit.build generator=llm generator.model=qwen2.5:7b language=zh target=200",
    "python -m alignkit.build generator=import generator.path=my_sentences.csv out=data/mine",
)

main = command("build", __doc__, EXAMPLES, texts=("language", "out"))

if __name__ == "__main__":
    main()

"""Look at the machine, both embedders, an index and the cache before anything is computed.

One line for each thing: ok, warning or failure, and what to do. The exit code is 1 if anything failed.

An index of one's own is read once: which rows can be used, how long vectors are, and whether two models made them. With
a teacher a sample of its texts is embedded again. Beside an index only those embedders are looked at that are named.
"""

from __future__ import annotations

from alignkit.commandline import command

EXAMPLES = (
    "python -m alignkit.check",
    "python -m alignkit.check student=static teacher=minilm",
    "python -m alignkit.check teacher=openai teacher.model=bge-m3 teacher.base_url=http://127.0.0.1:8080/v1",
    "python -m alignkit.check index=vectors.npy sentences=sentences.txt teacher=ollama",
    "python -m alignkit.check index=pgvector index.table=docs index.text=body teacher=minilm",
    "python -m alignkit.check format=json",
)

main = command(
    "check",
    __doc__,
    EXAMPLES,
    texts=("index_file", "index_key", "sentences", "cache_dir", "format"),
    other_names={"index": "index_file"},  # what is no engine is a file of vectors
    speaks=True,
)

if __name__ == "__main__":
    main()

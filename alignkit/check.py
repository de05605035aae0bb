"""Look at the machine, both embedders, an index and the cache before anything is computed.

One line for each thing: ok, warning or failure, and what to do. The exit code is 1 if anything failed.
"""

from __future__ import annotations

from alignkit.commandline import command

EXAMPLES = (
    "python -m alignkit.check",
    "python -m alignkit.check student=static teacher=minilm",
    "python -m alignkit.check teacher=openai teacher.model=bge-m3 teacher.base_url=http://127.0.0.1:8080/v1",
    "python -m alignkit.check index=vectors.npy sentences=sentences.txt",
    "python -m alignkit.check format=json",
)

main = command(
    "check",
    __doc__,
    EXAMPLES,
    texts=("index_file", "index_key", "sentences", "cache_dir", "format"),
    other_names={"index": "index_file"},  # Hydra takes `index=` for the group of engines
)

if __name__ == "__main__":
    main()

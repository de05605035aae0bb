"""Move an index that the student built into the teacher's space, without its texts.

The old index must come from the very student that the head was trained with: vectors of another model of the same
width would be moved to nonsense. A move that was interrupted goes on where it was when the same command is given again.
"""

from __future__ import annotations

from alignkit.commandline import command

EXAMPLES = (
    "python -m alignkit.migrate vectors=old.npy head=outputs/train/RUN out=new.npy",
    "python -m alignkit.migrate vectors=old.parquet key=embedding head=outputs/train/RUN out=new.parquet dtype=float16",
    "python -m alignkit.migrate vectors=old.npy head=outputs/train/RUN out=new.npy codes=int8,dims=256",
)

main = command("migrate", __doc__, EXAMPLES, texts=("vectors", "head", "out", "key", "dtype", "role", "codes"))

if __name__ == "__main__":
    main()

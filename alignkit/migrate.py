"""Move an index that the student built into the teacher's space, without embedding its texts again.

The old index must come from the very student that the head was trained with: vectors of another model of the same
width would be moved to nonsense. A move that was interrupted goes on where it was when the same command is given again.

An index in an engine (source=) is moved in steps, each of which can be looked at and repeated: plan, copy, verify,
compare, cut_over. New vectors lie beside the old ones, and nobody sees them before cut_over; roll_back works until
drop_old. How far it is lies in the engine: status, or any other step, can be run from another machine. With target=
the rows are moved whole into another engine: ids, texts, payload and new vectors.
"""

from __future__ import annotations

from alignkit.commandline import command

EXAMPLES = (
    "python -m alignkit.migrate vectors=old.npy head=outputs/train/RUN out=new.npy",
    "python -m alignkit.migrate vectors=old.parquet key=embedding head=outputs/train/RUN out=new.parquet dtype=float16",
    "python -m alignkit.migrate vectors=old.npy head=outputs/train/RUN out=new.npy codes=int8,dims=256",
    "python -m alignkit.migrate step=plan source=pgvector source.url=postgresql://localhost/shop source.table=docs"
    " source.text=body head=outputs/train/RUN",
    "python -m alignkit.migrate step=copy source=pgvector source.url=postgresql://localhost/shop source.table=docs"
    " source.text=body target=qdrant target.collection=docs head=outputs/train/RUN",
    "python -m alignkit.migrate step=cut_over source=pgvector source.url=postgresql://localhost/shop source.table=docs",
)

main = command(
    "migrate",
    __doc__,
    EXAMPLES,
    texts=("vectors", "head", "out", "key", "dtype", "role", "codes", "step", "queries", "qrels"),
    completed=("student", "teacher"),
)

if __name__ == "__main__":
    main()

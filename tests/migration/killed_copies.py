"""A copy in a process of its own, to be killed."""

from alignkit.artifact import load_artifact
from alignkit.migration import engine_copy
from alignkit.parts import build_part


def copy(settings, head, batch, done):
    """What `migrate step=copy` does, in small batches; says when the index is open, and after each batch."""
    engine_copy.BATCH = batch
    with build_part(settings) as index:
        done.send(True)
        engine_copy.copy_rows(index, load_artifact(head), "document", lambda rows: done.send(True))

"""Move an index that the student built into the teacher's space, without its texts.

The old index must come from the very student that the head was trained with: vectors of another model of the same
width would be moved to nonsense. A move that was interrupted goes on where it was when the same command is given again.
"""

from __future__ import annotations

import logging
import sys

from omegaconf import DictConfig

from alignkit.artifact import load_artifact
from alignkit.commandline import command, plain
from alignkit.embedders.base import ROLES
from alignkit.errors import ConfigError
from alignkit.migration.moving import migrate
from alignkit.progress import progress

logger = logging.getLogger("alignkit.migrate")

EXAMPLES = (
    "python -m alignkit.migrate vectors=old.npy head=outputs/train/RUN out=new.npy",
    "python -m alignkit.migrate vectors=old.parquet key=embedding head=outputs/train/RUN out=new.parquet dtype=float16",
)


@command("migrate", EXAMPLES, texts=("vectors", "head", "out", "key", "dtype", "role"))
def main(config: DictConfig) -> None:
    """Compose, move behind a progress bar, say what was done."""
    settings = plain(config)
    if settings["role"] not in ROLES:
        raise ConfigError(f"role={settings['role']}: expected one of {', '.join(ROLES)}")
    artifact = load_artifact(settings["head"])
    student = artifact.student_identity
    known = f"{student.get('model', student.get('backend'))}" if student else "bare vectors of a model it does not know"
    with progress("migrate", "rows") as counted:

        def on_rows(done: int, rows: int) -> None:
            if counted.total is None:  # what an earlier attempt did says nothing about the speed
                counted.begin(rows, done)
            else:
                counted.advance(done - counted.done)

        try:
            manifest = migrate(
                settings["vectors"],
                artifact,
                settings["out"],
                settings["key"],
                settings["dtype"],
                settings["role"],
                progress=on_rows,
            )
        except KeyboardInterrupt:
            logger.warning("%d rows are done; the same command goes on from about there", counted.done)
            raise
    checked = manifest["verification"]
    lines = [
        f"{settings['out']}: {manifest['rows']:,} rows of {manifest['dim']} dimensions, {manifest['dtype']}",
        f"the head was trained on: {known}; an index of any other model would be wrong here",
    ]
    if checked["rows"]:
        lines.append(
            f"{checked['rows']} rows read back agree with the head: largest difference "
            f"{checked['largest_difference']:.2g}, smallest cosine {checked['smallest_cosine']:.6f}"
        )
    if manifest["zero_rows"]:
        lines.append(f"{manifest['zero_rows']:,} rows are zero and stay zero")
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()

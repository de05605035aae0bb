"""Whether a folder has room for TensorBoard's files, whose names hold the time, the host and the process."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from alignkit.files import why_no_name


def why_no_events(folder: Path) -> OSError | None:
    """Why TensorBoard could not write there; its writer would say so in a thread of its own, when all is computed.

    Returns:
        `None` where it can.
    """
    return why_no_name(folder, len(f"events.out.tfevents.1700000000.{socket.gethostname()}.{os.getpid()}.00"))

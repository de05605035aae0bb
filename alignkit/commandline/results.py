"""Where a command prints its tables and words."""

from __future__ import annotations

import sys
from typing import Any

from rich.console import Console

from alignkit.commandline.screen import stop_printing


class Screen(Console):
    """A console whose reader may leave: what is left to print is dropped, and the command goes on to its own end.

    rich's own would end it with exit code 1 and no word, after a training whose results are all saved.

    Args:
        piped: columns where nobody looks on; `None` leaves them to rich.
        **options: of rich's `Console`.
    """

    def __init__(self, piped: int | None = None, **options: Any) -> None:
        super().__init__(width=None if sys.stdout.isatty() else piped, highlight=False, **options)

    def on_broken_pipe(self) -> None:
        """Print to nowhere from now on."""
        self.quiet = True
        stop_printing()

"""Changes of a table that others use: one process at a time, and nobody waits long behind it."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from alignkit.errors import EngineError
from alignkit.indexes.pg_table import PgTable

if TYPE_CHECKING:
    import psycopg

# whoever waits for a table makes everybody who comes later wait too
LOCK_TIMEOUT_MS = 50
# for all tries together, and between two of them
PATIENCE_S = 30.0
_PAUSE_S = (0.2, 0.8)
# first half of the numbers of our advisory locks, so that they are nobody else's
_OURS = 0x616C6967


def change(opened: psycopg.Connection, table: PgTable, work: Callable[[], object]) -> None:
    """Do the work in one transaction, all of it or none.

    A table that a long transaction holds is not waited for but tried again, so that others get through meanwhile.

    Args:
        opened: to the server.
        table: that is changed; two processes of ours change it one after the other.
        work: executes what is to be done; may be called again.

    Raises:
        EngineError: if the table is held for too long, with the one who holds it.
    """
    from psycopg.errors import DeadlockDetected, LockNotAvailable

    given_up = time.monotonic() + PATIENCE_S
    while True:
        try:
            with opened.transaction():
                opened.execute(f"SET LOCAL lock_timeout = {LOCK_TIMEOUT_MS}")
                opened.execute("SELECT pg_advisory_xact_lock(%s)", (_OURS << 32 | table.oid,))
                work()
                return
        except (LockNotAvailable, DeadlockDetected):
            if time.monotonic() > given_up:
                raise in_use(opened, table) from None
        time.sleep(random.uniform(*_PAUSE_S))


def in_use(opened: psycopg.Connection, table: PgTable) -> EngineError:
    """What is said where patience ends."""
    return EngineError(
        f"PostgreSQL: table {table.name} is in use{_holder(opened, table)}, and would have to be free for a moment; "
        "nothing was changed; try again when it is"
    )


def _holder(opened: psycopg.Connection, table: PgTable) -> str:
    """Who has held the table for the longest time."""
    found = opened.execute(
        "SELECT a.pid, a.application_name, a.state, extract(epoch FROM now() - a.xact_start)::int"
        " FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid"
        " WHERE l.relation = %s AND l.granted AND a.pid <> pg_backend_pid() ORDER BY a.xact_start LIMIT 1",
        (table.oid,),
    ).fetchone()
    if found is None:
        return ""
    pid, application, state, seconds = found
    named = f" ({application})" if application else ""
    since = "" if seconds is None else f", {state} in a transaction of {seconds:,} s"
    return f" by process {pid}{named}{since.replace('idle in transaction in', 'idle in')}"

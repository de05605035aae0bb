"""How far pgvector's approximate indexes look: settings of a session, changed only where a search needs it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from alignkit.indexes.pg_connection import PgConnection

if TYPE_CHECKING:
    import psycopg

# of pgvector; HNSW finds no more rows than that, unless a search goes on
FARTHEST = 1000
_OWN = "SELECT coalesce(nullif(current_setting('hnsw.ef_search', true), ''), '40')::int"
_FAR = "SELECT set_config('hnsw.ef_search', %s, false)"
# since pgvector 0.8: a search goes on until enough of what it finds pass
_GO_ON = (
    "SELECT set_config('hnsw.iterative_scan', 'strict_order', false),"
    " set_config('ivfflat.iterative_scan', 'relaxed_order', false)"
    " FROM pg_extension WHERE extname = 'vector' AND substring(extversion FROM '^[0-9]+[.][0-9]+')::numeric >= 0.8"
)


class PgReach:
    """Sets them for one connection, and again after it was lost.

    Args:
        connection: that searches go through.
    """

    def __init__(self, connection: PgConnection) -> None:
        self._connection = connection
        self._session: psycopg.Connection | None = None
        self._own = self._far = 0
        self._goes_on = False

    def extend(self, k: int, *, filtered: bool) -> None:
        """Let HNSW look at `k` candidates, and at as many as the server's settings say; no farther than that.

        Args:
            k: hits.
            filtered: whether a condition may take some of them away.
        """
        self._connection.run(lambda opened: self._extend(opened, k, filtered))

    def _extend(self, opened: psycopg.Connection, k: int, filtered: bool) -> None:
        if self._session is not opened:
            found = opened.execute(_OWN).fetchone()
            self._own = self._far = int(found[0]) if found else 0
            self._session, self._goes_on = opened, False
        wanted = max(self._own, min(k, FARTHEST))
        if wanted != self._far:
            opened.execute(_FAR, (str(wanted),))
            self._far = wanted
        if (filtered or k > FARTHEST) and not self._goes_on:
            opened.execute(_GO_ON)
            self._goes_on = True

"""A connection to PostgreSQL that outlives a restart of the server."""

from __future__ import annotations

import re
from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING, TypeVar

from alignkit.credentials import redacted
from alignkit.errors import ConfigError, DataError, EngineError
from alignkit.extras import needing
from alignkit.indexes.calling_again import WAITS_S, ServerAway, called_again
from alignkit.indexes.replacing import setting

if TYPE_CHECKING:
    import psycopg
    from psycopg.sql import Identifier

T = TypeVar("T")
# how long to wait before each further try to reach a server that was there before
# one more try: of a server that was started again only the connection is lost
HURRIED_WAITS_S = (0.05,)
_SQLALCHEMY = re.compile(r"^postgres(ql)?(\+\w+)?://")
_AGAIN = "run the same command again: it continues"
_WAYS_OUT = {
    "InsufficientPrivilege": "ask the owner for that right, or connect as the owner",
    "DiskFull": f"free some space on the server, then {_AGAIN}",
    "ConfigurationLimitExceeded": f"raise that limit for this user, then {_AGAIN}",
    "OutOfMemory": f"the server needs more memory; then {_AGAIN}",
    "TooManyConnections": f"close some, then {_AGAIN}",
    "LockNotAvailable": "another transaction holds the table; try again when it is done",
    "DeadlockDetected": f"another process changes the same rows; when it is done, {_AGAIN}",
    "SerializationFailure": f"another process changes the same rows; when it is done, {_AGAIN}",
    "QueryCanceled": f"somebody stopped it, or its statement_timeout did; {_AGAIN}",
    "ReadOnlySqlTransaction": "give the address of the primary server: this one only reads",
    **dict.fromkeys(
        ("UndefinedColumn", "DuplicateColumn", "UndefinedTable"),
        "the table has changed meanwhile; look with step=status",
    ),
}
# a server that vanished without a word is noticed within a minute; the system's own setting is two hours
_KEEPALIVES = {"keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3}


def postgres() -> ModuleType:
    """The client library.

    Raises:
        MissingExtraError: if it is not installed.
    """
    with needing("pgvector", "psycopg"):  # without its library it is there, and says so without a name
        import psycopg
    return psycopg


def quoted(*names: str) -> Identifier:
    """A name as SQL has it, for a query whose values are bound: there a percent sign stands for a value."""
    from psycopg.sql import Identifier

    return Identifier(*(name.replace("%", "%%") for name in names))


class PgConnection:
    """One connection, opened anew where the server went away; each piece of work is done whole, or again.

    Args:
        url: `postgresql://user@host:port/database`; `None` takes libpq's own variables (PGHOST, PGUSER, PGPASSWORD …).

    Raises:
        ConfigError: if it is no such URL.
        EngineError: if the server cannot be reached.
        MissingExtraError: without psycopg.
    """

    def __init__(self, url: str | None) -> None:
        self.psycopg = postgres()
        self._called = setting("url")
        if url is not None and not _SQLALCHEMY.match(url):
            raise ConfigError(
                f"{self._called}: expected an address such as postgresql://127.0.0.1:5432/shop, with the user before "
                "an @ (what was given is not shown: it may hold a password); leave it out to take PGHOST, PGDATABASE, "
                "PGUSER and PGPASSWORD from the environment"
            )
        self._url = "" if url is None else _SQLALCHEMY.sub("postgresql://", url)
        self.waits_s: tuple[float, ...] = WAITS_S
        self._open: psycopg.Connection | None = None
        try:
            self._connection()
        except self.psycopg.Error as error:
            raise self._worded(error) from None

    def run(self, work: Callable[[psycopg.Connection], T]) -> T:
        """What the work returns; after a lost connection it is done again, so it must bear that.

        Raises:
            DataError: if the server cannot take a value.
            EngineError: if it refuses, or stays away.
        """

        def once() -> T:
            try:
                return work(self._connection())
            except self.psycopg.Error as error:
                worded, lost = self._worded(error), self._open is None or self._open.closed
                raise (ServerAway(worded) if lost else worded) from None

        return called_again(once, self.waits_s)

    def close(self) -> None:
        """Close the connection, if one is open."""
        if self._open is not None:
            self._open.close()

    def _connection(self) -> psycopg.Connection:
        if self._open is None or self._open.closed:
            self._open = None
            self._open = self.psycopg.connect(
                self._url,
                autocommit=True,
                connect_timeout=10,
                application_name="alignkit",
                client_encoding="utf8",
                **_KEEPALIVES,
            )
            # a stricter default of the user's would refuse rows that others change meanwhile
            self._open.isolation_level = self.psycopg.IsolationLevel.READ_COMMITTED
        return self._open

    def _worded(self, error: psycopg.Error) -> EngineError | DataError:
        said = (error.diag.message_primary or str(error) or type(error).__name__).strip().splitlines()[0]
        names = [kind.__name__ for kind in type(error).__mro__]
        if "DependentObjectsStillExist" in names and error.diag.message_detail:
            said += f" ({error.diag.message_detail.splitlines()[0]})"
        fix = next((_WAYS_OUT[name] for name in names if name in _WAYS_OUT), None)
        if fix is None and (self._open is None or self._open.closed):
            fix = f"is the server running, and is {self._called} right?"
        # a value that its column cannot take is the asker's fault, not the engine's
        kind = DataError if isinstance(error, self.psycopg.DataError) else EngineError
        return kind(redacted(f"PostgreSQL: {said}{f'; {fix}' if fix else ''}", self._secrets()))

    def _secrets(self) -> list[str]:
        try:
            found = self.psycopg.conninfo.conninfo_to_dict(self._url).get("password")
        except self.psycopg.Error:
            return [self._url]
        return [str(found)] if found else []

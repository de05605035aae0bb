"""The real server behind a connection that can go away and come back, as in a restart or a failover."""

import os
import socket
import threading
from contextlib import suppress


class FlakyPostgres:
    """Hands every connection to one port of this machine on to the server."""

    def __init__(self, url):
        import psycopg

        with psycopg.connect(url) as connection:
            host, port, self.database = connection.info.host, connection.info.port, connection.info.dbname
            user = connection.info.user
        self.behind = f"{host}/.s.PGSQL.{port}" if host.startswith(os.sep) else (host, port)
        self.listener, self.open, self.port = None, [], 0
        self.come_back()
        self.url = f"postgresql://{user}@127.0.0.1:{self.port}/{self.database}"

    def come_back(self):
        self.listener = socket.create_server(("127.0.0.1", self.port))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, args=(self.listener,), daemon=True).start()

    def go_away(self):
        """Refuse new connections and break off those that are open."""
        _close(self.listener)
        while self.open:
            _close(self.open.pop())

    def _accept(self, listener):
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                server = socket.socket(socket.AF_UNIX if isinstance(self.behind, str) else socket.AF_INET)
                server.connect(self.behind)
                self.open += [client, server]
                for one, other in ((client, server), (server, client)):
                    threading.Thread(target=_hand_on, args=(one, other), daemon=True).start()


def _hand_on(one, other):
    with suppress(OSError):
        while said := one.recv(1 << 16):
            other.sendall(said)
    _close(other)


def _close(one):
    with suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    one.close()

"""Whose certificates a client trusts: those of the system are read once a process, and only for an encrypted server."""

from __future__ import annotations

import functools
import os
import ssl

import httpx


def trusted_by(url: httpx.URL) -> ssl.SSLContext:
    """What a client of that address takes as `verify`; it must follow no redirect to another scheme.

    httpx reads all of the system's certificates for each client, which takes 45 ms, also where nothing is encrypted.
    `SSL_CERT_FILE` and `SSL_CERT_DIR` are honoured, on loopback too.
    """
    if url.scheme != "https":
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # which trusts nobody
    return _known(os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))


@functools.cache
def _known(file: str | None, folder: str | None) -> ssl.SSLContext:
    return httpx.create_ssl_context()

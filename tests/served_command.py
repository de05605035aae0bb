"""`python -m alignkit.serve` in a process of its own."""

import os
import re
import subprocess
import sys
import threading
from contextlib import contextmanager

import httpx
from waiting import HANG_S, get, joined, until


@contextmanager
def served(arguments):
    """The command on a port that is free; yields its address once it is ready."""
    command = [sys.executable, "-m", "alignkit.serve", *arguments, "port=0"]
    environment = {**os.environ, "COLUMNS": "500"}
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, env=environment)
    log = []
    reader = threading.Thread(target=lambda: log.extend(process.stderr), daemon=True)
    reader.start()
    try:
        found = until(lambda: re.search(r"at (http://\S+)", "".join(list(log))), process)
        until(lambda: ready(found[1]), process)
        yield found[1]
    finally:
        process.terminate()
        process.wait(timeout=HANG_S)
        joined(reader)
        process.stderr.close()


def ready(address):
    try:
        return get(f"{address}/ready").status_code == 200
    except httpx.TransportError:
        return False

"""`python -m alignkit.serve` in a process of its own."""

import os
import re
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import httpx

START_TIMEOUT_S = 60


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
        deadline = time.monotonic() + START_TIMEOUT_S
        while not (found := re.search(r"at (http://\S+)", "".join(list(log)))):
            assert time.monotonic() < deadline and process.poll() is None, log
            time.sleep(0.05)
        while not ready(found[1]):
            assert time.monotonic() < deadline and process.poll() is None, log
            time.sleep(0.05)
        yield found[1]
    finally:
        process.terminate()
        process.wait(timeout=30)
        reader.join(timeout=10)
        process.stderr.close()


def ready(address):
    try:
        return httpx.get(f"{address}/ready").status_code == 200
    except httpx.TransportError:
        return False

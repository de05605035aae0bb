"""Paste a guide from top to bottom into an empty folder: `python docs/try_guides.py docs/guides/no-gpu.md [FOLDER]`.

Every line is run by bash as it stands, Python blocks by Python, and servers until the next one is started. What
installs packages is left out: the environment at hand is what is tried.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

READY = "http://127.0.0.1:8088/ready"
# `watch` and `evaluate require=` say so that something is worse; as an answer that is as good as another
FINE = (0, 3)
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def main() -> None:
    """Run the blocks of the page that is named."""
    page = Path(sys.argv[1]).read_text(encoding="utf-8")
    folder = Path(sys.argv[2] if len(sys.argv) > 2 else tempfile.mkdtemp(prefix="guide-"))
    folder.mkdir(parents=True, exist_ok=True)
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    server: subprocess.Popen[bytes] | None = None
    try:
        for language, block in _BLOCK.findall(page):
            for line in [block] if language == "python" else block.splitlines():
                print(f"\n$ {line}", flush=True)
                if language == "python":
                    subprocess.run([sys.executable, "-c", line], cwd=folder, check=True)
                elif "alignkit.serve" in line:
                    stop(server)
                    if is_ready():
                        sys.exit(f"try_guides: another server answers at {READY}; it would be tried for the guide's")
                    server = subprocess.Popen(line.split(), cwd=folder)
                    wait_for(server)
                elif not line.startswith("pip "):
                    done = subprocess.run(["bash", "-c", line], cwd=folder)
                    if done.returncode not in FINE:
                        sys.exit(f"try_guides: exit code {done.returncode} of: {line}")
    finally:
        stop(server)
    print(f"\n{sys.argv[1]}: every line ran, in {folder}")


def wait_for(server: subprocess.Popen[bytes]) -> None:
    """Until it answers; a busy machine takes its time."""
    for _ in range(600):
        if server.poll() is not None:
            sys.exit(f"try_guides: the server ended with exit code {server.returncode}")
        if is_ready():
            return
        time.sleep(0.5)
    sys.exit("try_guides: the server does not get ready")


def is_ready() -> bool:
    """Whether a server answers."""
    try:
        urllib.request.urlopen(READY, timeout=5).close()
    except OSError:
        return False
    return True


def stop(server: subprocess.Popen[bytes] | None) -> None:
    """End it in peace."""
    if server is not None and server.poll() is None:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    main()

import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no process can be asked to end there")

COMMAND = """
import os, signal, sys, time
from alignkit.commandline.stopping import termination_is_interruption
with termination_is_interruption():
    try:
        {body}
    except KeyboardInterrupt:
        print("all is kept", flush=True)
print("never reached", flush=True)
"""


def run(body):
    """What a process prints that is asked to end once it is ready, and how it ended."""
    process = subprocess.Popen(
        [sys.executable, "-c", COMMAND.format(body=body)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)
        printed, _ = process.communicate(timeout=600)
    finally:
        process.kill()
    return printed, process.returncode


def test_what_is_done_is_kept_and_the_process_ends_by_its_signal():
    assert run("print('ready', flush=True); time.sleep(900)") == ("all is kept\n", -signal.SIGTERM)


def test_a_forked_worker_ends_at_once():
    body = (
        "here, there = os.pipe(); "
        "worker = os.fork() or (os.write(there, b'up'), time.sleep(900), os._exit(7)); "
        "os.read(here, 2); os.kill(worker, signal.SIGTERM); "
        "assert os.waitstatus_to_exitcode(os.waitpid(worker, 0)[1]) == -signal.SIGTERM; "
        "print('ready', flush=True); time.sleep(900)"
    )
    assert run(body) == ("all is kept\n", -signal.SIGTERM)


def test_who_has_a_handler_of_its_own_keeps_it():
    code = (
        "import os, signal\nfrom alignkit.commandline.stopping import termination_is_interruption\n"
        "signal.signal(signal.SIGTERM, lambda *_: print('mine'))\n"
        "with termination_is_interruption():\n    os.kill(os.getpid(), signal.SIGTERM)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert (done.returncode, done.stdout) == (0, "mine\n"), done.stderr

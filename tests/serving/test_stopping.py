"""Ctrl-C while a model of this process hangs inside a library: the process ends in order and in time."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from waiting import HANG_S, post

HERE = Path(__file__).parent
SERVER = """
import logging, sys
import torch
from odd_students import OddStudent, odd_artifact
from alignkit.aligned import AlignedEmbedder
from alignkit.serving.answers import Answerer
from alignkit.serving.limits import Limits
from alignkit.serving.server import run
from alignkit.serving.service import Service

class Hanging(OddStudent):
    def embed(self, texts, role="document"):
        if texts[0].startswith("hang"):
            matrix = torch.randn(500, 500)
            while True:
                matrix = torch.tanh(matrix @ matrix)
        yield from super().embed(texts, role)

logging.basicConfig(level=logging.INFO)
service = Service(Answerer(AlignedEmbedder(odd_artifact(), Hanging())), limits=Limits(answer_timeout_s=0.5))
run(service, port=0, grace_s=1)
"""


@pytest.mark.skipif(os.name == "nt", reason="a process on Windows cannot be sent Ctrl-C alone")
def test_ctrl_c_while_a_model_hangs():
    paths = [str(HERE), str(HERE.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER],
        stderr=subprocess.PIPE,
        encoding="utf-8",
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
    )
    try:
        url = next(line.split(" at ")[1].strip() for line in process.stderr if " at http://" in line)
        answer = post(f"{url}/v1/embeddings", json={"input": "hang"})
        assert answer.status_code == 504
        process.send_signal(signal.SIGINT)
        _, log = process.communicate(timeout=HANG_S)
    finally:
        process.kill()
    assert process.returncode == 130
    assert "its call is abandoned" in log
    assert "terminate called" not in log

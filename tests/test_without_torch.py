"""A trained table is used and served without torch, which takes seconds to load and hundreds of megabytes."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from small_table import save_table

import alignkit
from alignkit.artifact import Artifact, save_artifact
from alignkit.embedders.base import embed_all
from alignkit.embedders.distilled import DistilledEmbedder
from alignkit.heads.confidence import ConfidenceEstimate
from alignkit.heads.linear import LinearHead
from alignkit.heads.mlp import MlpHead
from alignkit.resources.demo_pack import about_pack
from alignkit.vectors import l2_normalize

pytest.importorskip("tokenizers")
TEXTS = ["where is my parcel", "please reset my password"]
WATCHED = "print(json.dumps([answer, sorted({'torch', 'lightning', 'transformers'} & set(sys.modules))]))"


@pytest.fixture
def run(tmp_path):
    """What `distill student=table` leaves: a table, a head, its whitening and its estimate of confidence."""
    student = DistilledEmbedder(save_table(tmp_path / "run" / "student"))
    torch.manual_seed(3)
    head = MlpHead(16, 8, hidden=32)
    torch.nn.init.normal_(head.layers[-1].weight)
    parts = {"query_head": head, "whitening": LinearHead(8, 8), "confidence": ConfidenceEstimate(16, anchors=20)}
    parts = {name: part.eval() for name, part in parts.items()}
    save_artifact(Artifact(parts, student_identity=student.identity()), tmp_path / "run" / "head")
    with torch.no_grad():
        aligned = parts["whitening"](head(torch.from_numpy(embed_all(student, TEXTS, "query"))))
    return tmp_path / "run", l2_normalize(aligned).numpy()


def alone(code, *arguments):
    """What a process of its own gives, and what heavy modules it has loaded."""
    done = subprocess.run([sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_it_embeds(run):
    folder, expected = run
    code = f"""
import json, sys, alignkit
embedder = alignkit.AlignedEmbedder.load(sys.argv[1])
answer = [embedder.encode({TEXTS!r}).tolist(), embedder.encode({TEXTS!r}, "document").tolist(), embedder.dim,
          embedder.identity()["digest"], embedder.estimates_confidence]
{WATCHED}
"""
    (queries, documents, dim, digest, sure), heavy = alone(code, folder)
    assert heavy == []
    np.testing.assert_allclose(queries, expected, atol=1e-5)
    assert np.abs(np.subtract(documents, queries)).max() > 0.01  # which are not whitened
    assert (dim, digest, sure) == (8, alignkit.load_artifact(folder).digest(), True)


def test_so_is_the_demos_own_table(tmp_path):
    """Which a head finds in the package."""
    torch.manual_seed(0)
    identity = about_pack()["identities"]["table"]
    save_artifact(Artifact({"query_head": LinearHead(256, 8).eval()}, student_identity=identity), tmp_path / "head")
    code = f"""
import json, sys, alignkit
answer = alignkit.AlignedEmbedder.load(sys.argv[1]).encode({TEXTS!r}).tolist()
{WATCHED}
"""
    vectors, heavy = alone(code, tmp_path)
    assert heavy == [] and np.shape(vectors) == (2, 8)


def test_it_is_served(run):
    for package in ("starlette", "uvicorn", "prometheus_client"):
        pytest.importorskip(package)
    folder, expected = run
    # the server itself, which is asked from a thread and then told to stop
    code = f"""
import io, json, re, signal, sys, threading, time, urllib.request
sys.argv = ["serve", "head=" + sys.argv[1], "port=0", "grace_s=1"]
shown, screen = io.StringIO(), sys.stderr

class Both:
    encoding, errors = "utf-8", "strict"
    def write(self, text): shown.write(text); return screen.write(text)
    def flush(self): screen.flush()
    def isatty(self): return False
    def fileno(self): return screen.fileno()

sys.stderr, found = Both(), []

def ask():
    for _ in range(1200):
        if address := re.search(r"at (http://\\S+)", shown.getvalue()):
            body = json.dumps({{"input": {TEXTS!r}, "model": "alignkit"}}).encode()
            try:
                kind = {{"content-type": "application/json"}}
                asked = urllib.request.Request(address[1] + "/v1/embeddings", body, kind)
                found.append([row["embedding"] for row in json.load(urllib.request.urlopen(asked))["data"]])
                break
            except OSError:
                pass
        time.sleep(0.05)
    signal.raise_signal(signal.SIGINT)

threading.Thread(target=ask, daemon=True).start()
import alignkit.serve
try:
    alignkit.serve.main()
except SystemExit:
    pass
answer = found
{WATCHED}
"""
    answers, heavy = alone(code, folder)
    assert heavy == []
    np.testing.assert_allclose(answers[0], expected, atol=1e-5)

"""Students that do what upstream models do on bad days."""

import threading
import time
from dataclasses import replace

import numpy as np
import torch
from waiting import HANG_S

from alignkit.artifact import Artifact
from alignkit.embedders.base import EmbeddedBatch
from alignkit.errors import EmbedderError
from alignkit.heads.confidence import ConfidenceEstimate
from alignkit.heads.linear import LinearHead

DIM = 8


class OddStudent:
    """Letters counted; texts that start with a key word do something else.

    Args:
        delay_s: of each call.
        gate: nothing is answered before it is set.
    """

    def __init__(self, delay_s=0.0, gate=None, dim=DIM):
        self.dim = dim
        self.delay_s = delay_s
        self.gate = gate
        self.calls = []
        self.down = False

    def identity(self, role="document"):
        return {"backend": "odd", "model": "letters", "prompt": role}

    settings = identity

    def provenance(self):
        return {}

    def close(self):
        pass

    def embed(self, texts, role="document"):
        self.calls.append(list(texts))
        if self.gate is not None:
            assert self.gate.wait(HANG_S)
        if self.delay_s:
            time.sleep(self.delay_s)
        if self.down:
            raise EmbedderError("cannot connect to http://127.0.0.1:9")
        if any(text.startswith("crash") for text in texts):
            raise ZeroDivisionError("a secret text would stand here")
        width = DIM + 1 if any(text.startswith("wide") for text in texts) else DIM
        failures = {row: "the model gave NaN" for row, text in enumerate(texts) if text.startswith("nan")}
        rows = [row for row in range(len(texts)) if row not in failures]
        vectors = np.ones((len(rows), width), dtype=np.float32)
        for place, row in enumerate(rows):
            for letter in texts[row]:
                vectors[place, ord(letter) % width] += 1
        yield EmbeddedBatch(np.array(rows, dtype=np.int64), vectors, failures)


class Confidence(ConfidenceEstimate):
    """Sure of texts with few letters."""

    def forward(self, student):
        return torch.exp(-(student - 1).sum(dim=1) / 10)


def odd_artifact(confidence=False, identity="document"):
    torch.manual_seed(0)
    parts = {"query_head": LinearHead(DIM, 6).eval().requires_grad_(False)}
    if confidence:
        parts["confidence"] = Confidence(DIM).eval().requires_grad_(False)
    return Artifact(parts, OddStudent().identity(identity), {"backend": "odd-teacher"})


def closed_gate():
    return threading.Event()


def answer_within(service, seconds):
    """Wait for the models so long from now on: shortly for a call that hangs, long for one that is only slow."""
    service.limits = replace(service.limits, answer_timeout_s=seconds)
    service._batcher._call_timeout_s = seconds

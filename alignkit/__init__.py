"""alignkit: let a cheap embedding model stand in for an expensive one.

>>> import alignkit
>>> import numpy as np
>>> student = np.random.default_rng(0).normal(size=(400, 16))
>>> teacher = student @ np.random.default_rng(1).normal(size=(16, 32))
>>> fitted = alignkit.fit(student, teacher, model="linear", settings={"trainer.max_epochs": 0})
>>> fitted.transform(student[:1]).shape  # in the teacher's space
(1, 32)
>>> round(fitted.report.rows["aligned"]["cosine_mean"], 2)
1.0
"""

from __future__ import annotations

from typing import Any

__version__ = "0.1.0"

# name → module; looked up on first use, so that `import alignkit` stays free of torch
_PUBLIC = {
    "fit": "alignkit.estimator.front",
    "load": "alignkit.estimator.fitted",
    "Fitted": "alignkit.estimator.fitted",
    "Aligner": "alignkit.estimator.aligner",
    "Report": "alignkit.estimator.report",
    "load_head": "alignkit.artifact",
    "load_artifact": "alignkit.artifact",
    "save_head": "alignkit.artifact",
    "save_artifact": "alignkit.artifact",
    "Artifact": "alignkit.artifact",
    "AlignedEmbedder": "alignkit.aligned",
    "speaking": "alignkit.language.speaking",
    "mteb_model": "alignkit.benchmarking.mteb_model",
    "AlignkitError": "alignkit.errors",
}
# `from alignkit import *` takes what needs no extra
__all__ = [*(name for name in _PUBLIC if name != "Aligner"), "__version__"]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'alignkit' has no attribute '{name}'")
    import importlib

    return getattr(importlib.import_module(_PUBLIC[name]), name)

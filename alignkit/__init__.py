"""alignkit: let a cheap embedding model stand in for an expensive one.

from alignkit import load_head

head = load_head("outputs/train/2026-01-31_12-00-00")
aligned = head(student)  # (N, student_dim) → (N, teacher_dim)
"""

from __future__ import annotations

from typing import Any

__version__ = "0.1.0"

# name → module; looked up on first use, so that `import alignkit` stays free of torch
_PUBLIC = {
    "load_head": "alignkit.artifact",
    "load_artifact": "alignkit.artifact",
    "save_head": "alignkit.artifact",
    "save_artifact": "alignkit.artifact",
    "Artifact": "alignkit.artifact",
    "AlignedEmbedder": "alignkit.aligned",
    "AlignkitError": "alignkit.errors",
}
__all__ = [*_PUBLIC, "__version__"]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'alignkit' has no attribute '{name}'")
    import importlib

    return getattr(importlib.import_module(_PUBLIC[name]), name)

"""Heads as their YAMLs describe them, cut down in size."""

import importlib

import yaml

from alignkit.commandline import conf_folder, group_choices

# sizes of YAMLs are cut down to this, for speed: what a head computes does not depend on them
MOST = 64


def build_head(kind, student_dim, teacher_dim):
    """The head of a YAML, small."""
    settings = yaml.safe_load((conf_folder() / "model" / f"{kind}.yaml").read_text(encoding="utf-8"))
    module, _, name = settings.pop("_target_").rpartition(".")
    for part in ("_partial_", "init", "recipe"):
        settings.pop(part, None)
    plain = {key: value for key, value in settings.items() if not str(value).startswith("${")}
    small = {key: min(value, MOST) if type(value) is int else value for key, value in plain.items()}
    return getattr(importlib.import_module(module), name)(student_dim, teacher_dim, **small)


def head_kinds():
    """Every YAML that names a head."""
    return [
        name
        for name in group_choices("model")
        if ".heads."
        in str(yaml.safe_load((conf_folder() / "model" / f"{name}.yaml").read_text(encoding="utf-8")).get("_target_"))
    ]

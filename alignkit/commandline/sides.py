"""The models that a head was trained with, as words of a command line: who names none means those."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from alignkit.artifact import load_artifact
from alignkit.commandline.conf import MOUNTED_GROUPS, group_choices, yaml_of
from alignkit.errors import AlignkitError

# what an identity says that a YAML can be told, by name there; where a server is and which key it wants, only the user
# says, and nothing of a file is more than a value
SETTINGS: dict[str, tuple[str, type]] = {
    "model": ("model", str),
    "query_prompt": ("prompt", str),
    "document_prompt": ("prompt", str),
    "dimensions": ("dimensions", int),
    "normalize": ("normalize", bool),
    "truncate": ("truncate", bool),
}
# models of installed packages: name and number of layers → the YAML
PACKAGED = {("all-MiniLM-L6-v2", None): "minilm", ("all-MiniLM-L6-v2", 2): "two_layer"}


def with_sides_of_head(words: Sequence[str]) -> list[str]:
    """A command line, put after what its head knows of student and teacher.

    Args:
        words: as typed; `head=` among them names the head.

    Returns:
        The words with others before them; the same where the head cannot be read, which the command will say, or tells
        nothing that a YAML fits. What is typed is never overruled.
    """
    given = {name: value for name, _, value in (word.partition("=") for word in words)}
    try:
        artifact = load_artifact(given.get("head", ""))
    except AlignkitError:
        return list(words)
    known = {"student": artifact.student_identity, "teacher": artifact.teacher_identity}
    own = [word for side, identity in known.items() if identity for word in _words(side, identity, given)]
    return [*own, *words]


def _words(side: str, identity: Mapping[str, Any], given: Mapping[str, str]) -> Iterator[str]:
    choice = _choice(identity)
    named = given.get(side, given.get(MOUNTED_GROUPS[side]))
    if choice is None or named not in (None, choice):
        return
    if named is None:
        yield f"{side}={choice}"
    ours = yaml_of("embedder", choice)
    for name, (told, kind) in SETTINGS.items():
        value, place = identity.get(told), f"{side}.{name}"
        if name in ours and type(value) is kind and value != ours[name] and place not in given:
            yield f"{place}={str(value).lower() if kind is bool else value}"


def _choice(identity: Mapping[str, Any]) -> str | None:
    """The YAML of an embedder; None where the identity does not say enough, as for a folder on another machine."""
    backend = identity.get("backend")
    if backend == "sentence_transformer":
        return PACKAGED.get((str(identity.get("model")), identity.get("layers")))
    # alignkit.embedders.<backend>.<Class>
    choices = group_choices("embedder")
    return next((one for one in choices if str(yaml_of("embedder", one)["_target_"]).split(".")[-2] == backend), None)

"""The documentation tells what the code does: its commands compose, its messages exist."""

import ast
import functools
import re
import shlex
from pathlib import Path

import pytest
from declaring import read

import alignkit
from alignkit.commandline.conf import group_choices

PACKAGE = Path(alignkit.__file__).parent
DOCS = PACKAGE.parent / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
pytestmark = pytest.mark.skipif(not DOCS.is_dir(), reason="only a checkout has the documentation")


@functools.cache
def templates():
    """Every text of the package, with `…` for what is filled in."""
    found = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                found.add("".join(str(one.value) if isinstance(one, ast.Constant) else "…" for one in node.values))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.add(node.value)
    return "\n".join(found)


def test_every_message_of_the_troubleshooting_is_one_of_ours():
    headings = re.findall(r"^### `(.*)`$", (DOCS / "troubleshooting.md").read_text(encoding="utf-8"), re.M)
    assert len(headings) > 20
    for message in headings:
        for piece in message.split("…"):
            assert piece.strip(" ;") in templates(), (message, piece)


def commands_of(page):
    for language, block in re.findall(r"^ *```(\w*)\n(.*?)^ *```$", page.read_text(encoding="utf-8"), re.M | re.S):
        for line in block.splitlines() if language == "" else ():
            words = shlex.split(line)
            for start in (["python", "-m"], ["alignkit"]):
                if words[: len(start)] == start and words[-1] != "…" and len(words) > len(start):
                    name = words[len(start)].removeprefix("alignkit.")
                    yield name, words[len(start) + 1 :]


@pytest.mark.parametrize("page", [page for page in PAGES if page.name != "recipes.md"], ids=lambda page: page.stem)
def test_every_command_of_a_page_is_read(page):
    """Each word by the reader that the command itself uses: unknown settings and choices are refused."""
    for name, words in commands_of(page):
        if name.startswith("--"):
            continue
        read(name, words)
    assert len(group_choices("model")) > 1


def test_the_guide_for_ollama_is_the_readmes():
    """Which is run line by line, against a server that answers as Ollama does."""
    readme = (PACKAGE.parent / "README.md").read_text(encoding="utf-8")
    lines = [line for line in (DOCS / "guides" / "ollama.md").read_text(encoding="utf-8").splitlines()]
    ours = [line for line in lines if line.startswith("python -m alignkit")]
    section = re.search(r"^## The whole job on a pair behind Ollama\n+```\n(.*?)^```", readme, re.M | re.S)
    assert ours == section[1].splitlines()

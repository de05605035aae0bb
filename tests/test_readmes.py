"""The commands of both READMEs are ones that the command line understands, and the Chinese one leads nowhere else."""

import re
import shlex
from pathlib import Path

import pytest
from declaring import read

import alignkit

ROOT = Path(alignkit.__file__).parents[1]
READMES = ("README.md", "README.zh.md")


def text_of(name):
    return (ROOT / name).read_text(encoding="utf-8")


def commands_of(name):
    for line in re.findall(r"^(?:.*&& )?python -m alignkit\.(.*)$", text_of(name), re.MULTILINE):
        yield shlex.split(line, comments=True)


@pytest.mark.parametrize("name", READMES)
def test_every_setting_of_a_readme_is_there(name):
    found = list(commands_of(name))
    assert len(found) > 20
    for command, *words in found:
        if "alignkit." in command:
            continue
        read(command, words)


def test_the_chinese_readme_shows_what_the_english_one_does():
    """Its links lead somewhere, and the figures of the demo are those of the English page."""
    chinese, english = map(text_of, reversed(READMES))
    for target in re.findall(r"\]\(([^)#]+)", chinese):
        assert (ROOT / target).exists(), target
    for page, links in ((english, r"\]\(README\.md#([^)]+)\)"), (chinese, r"\]\(#([^)]+)\)")):
        headings = {heading.lower().replace(" ", "-") for heading in re.findall(r"^#+ (.+)$", page, re.MULTILINE)}
        assert {*re.findall(links, chinese)} <= headings
    rows = re.compile(r"^(?:teacher|aligned|student|cascade|ridge|raw|mean)\S* +[-0-9. ]+$", re.MULTILINE)
    figures = [[row.split() for row in rows.findall(page)] for page in (chinese, english)]
    assert figures[0] == figures[1] != []

"""The catalogue of translations: nothing missing, nothing unused, the same fields on both sides."""

import ast
import importlib
import re
import string
import tomllib
from collections import Counter
from functools import cache
from pathlib import Path

import jinja2
import pytest

import alignkit
from alignkit.__main__ import commands
from alignkit.evaluation.columns import Column
from alignkit.language.catalogue import catalogue, files_of
from alignkit.parts import conf_folder
from alignkit.reporting.report_files import TEMPLATES

PACKAGE = Path(alignkit.__file__).parent
SAYING = ("say", "say_html", "template")
CHINESE = catalogue("zh")
# names of fonts, places in a plot, a style, a file format: nobody reads them as words
SILENT = {"chinese_font.py", "projector.py", "center left", "lower center", "lower right", "offset points", "bold red"}


@cache
def tree(path):
    return ast.parse(path.read_text(encoding="utf-8"))


def speaks(path):
    return "alignkit.language.speaking import" in path.read_text(encoding="utf-8")


@cache
def speaking_files():
    return [path for path in PACKAGE.rglob("*.py") if speaks(path)]


def texts_of(path):
    """Texts of a file, but for docstrings and what is logged or raised."""
    skipped = set()
    for node in ast.walk(tree(path)):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and isinstance(body[0], ast.Expr):
            skipped.add(body[0].value)
        if isinstance(node, ast.Raise) or (isinstance(node, ast.Call) and "logger." in ast.unparse(node.func)):
            skipped |= set(ast.walk(node))
    return {
        node.value
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in skipped
    }


def said():
    """What is handed to `say` letter by letter, in the code and in the templates."""
    for path in speaking_files():
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in SAYING and node.args:
                yield from _literals(node.args[0])
    for path in TEMPLATES.iterdir():
        for call in jinja2.Environment().parse(path.read_text(encoding="utf-8")).find_all(jinja2.nodes.Call):
            if getattr(call.node, "name", "") in SAYING and isinstance(call.args[0], jinja2.nodes.Const):
                yield call.args[0].value
    for column in Column:
        yield from (column.heading, column.meaning)


def _literals(node):
    """The texts that an expression may be, not those that it is chosen by."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.IfExp):
        yield from (*_literals(node.body), *_literals(node.orelse))


def test_what_is_said_is_translated():
    assert [text for text in said() if text not in CHINESE.messages] == []


def test_no_sentence_of_a_report_is_left_unsaid():
    """Several words in one text of this room are a sentence for a reader, wherever it stands in a file."""
    files = [path for path in (PACKAGE / "reporting").glob("*.py") if path.name not in SILENT]
    texts = {text for path in files for text in texts_of(path)}
    sentences = {text for text in texts if re.search(r"[A-Za-z]{2,}[,:;]? [A-Za-z]", text)}
    assert sentences - {*CHINESE.messages} - SILENT == set()


def test_no_words_of_a_page_are_left_unsaid():
    for path in TEMPLATES.iterdir():
        source = re.sub(r"<style>.*?</style>", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
        shown = "".join(text for _, kind, text in jinja2.Environment().lex(source) if kind == "data")
        shown = re.sub(r"<[^>]*>|`[^`]*`", " ", shown)
        assert re.findall(r"[A-Za-z]{2,}", shown) == [], path.name


def test_nothing_is_translated_that_nobody_says():
    rooms = {
        *speaking_files(),
        *PACKAGE.glob("reporting/*.py"),
        *PACKAGE.glob("commands/*.py"),
        *PACKAGE.glob("checking/*.py"),
    }
    known = {text for path in rooms for text in texts_of(path)} | {*said()}
    assert [text for text in CHINESE.messages if text not in known] == []


def test_a_fact_is_one_that_the_code_writes_down():
    """A sentence that was reworded would silently stay English."""
    source = "\n".join(path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py"))
    written = re.sub(r'"\s+f?"', "", source)  # a long text is written in pieces
    missing = {fact: [part for part in _parts(fact) if part not in written] for fact in CHINESE.facts}
    assert {fact: parts for fact, parts in missing.items() if parts} == {}


def _parts(fact):
    # facts are put together of halves, where one begins with its comma, bracket or semicolon
    pieces = re.split(r"\{\w+\}|[;(),.:] ?", fact)
    return [piece.strip() for piece in pieces if re.search(r"[a-z]{3}", piece)]


def test_a_fact_says_enough_to_be_known_by():
    for fact in CHINESE.facts:
        words = re.findall(r"[A-Za-z]+", re.sub(r"\{\w+\}", "", fact))
        assert "{" not in fact or "{side}" in fact or len(words) > 1, fact


def test_both_languages_have_the_same_fields():
    for english, chinese in [*CHINESE.messages.items(), *CHINESE.facts.items()]:
        assert _fields(english) == _fields(chinese), english


def _fields(template):
    return Counter((name, form) for _, name, form, _ in string.Formatter().parse(template) if name is not None)


@pytest.mark.parametrize("name", commands())
def test_a_command_with_a_language_speaks_it(name):
    """But for `build`, whose language is that of the sentences that it makes."""
    has_setting = re.search(r"^language:", (conf_folder() / f"{name}.yaml").read_text(encoding="utf-8"), re.MULTILINE)
    declared = importlib.import_module(f"alignkit.{name}").main.declared
    assert declared.speaks == (bool(has_setting) and name != "build")


def test_no_sentence_is_translated_twice():
    tables = [tomllib.loads(path.read_text(encoding="utf-8")) for path in files_of("zh")]
    for kind in ("messages", "facts"):
        count = Counter(key for table in tables for key in table.get(kind, {}))
        assert [key for key, times in count.items() if times > 1] == []


def test_translations_are_written_as_chinese_is():
    """Full-width marks between Chinese characters, no blank that English would have there."""
    for chinese in [*CHINESE.messages.values(), *CHINESE.facts.values()]:
        assert not re.search(r"[\u4e00-\u9fff][,;:!?] ?|[,;!?][\u4e00-\u9fff]", chinese), chinese
        assert not re.search(r"[\u4e00-\u9fff] +[\u4e00-\u9fff]", chinese), chinese

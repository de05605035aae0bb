"""A hook of MkDocs: one page a command and one a group of parts, from their YAMLs, so that nobody keeps them twice."""

from __future__ import annotations

import ast
import inspect
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from alignkit.__main__ import commands, summaries
from alignkit.commandline.conf import conf_folder, group_choices, mounts_of
from alignkit.evaluation.columns import Column
from alignkit.evaluation.verdict import BROKEN_SHARE, decide
from alignkit.reporting.glossary import LIMITS, ROWS

_SETTING = re.compile(
    r"(?P<indent> *)(?P<name>[\w@/ ]+): *(?P<value>(?:\"[^\"]*\"|'[^']*'|[^#])*?) *(?:#\s*(?P<about>.*))?"
)
ABOUT_EXTRAS = {
    "local": "real models that run in this process, without a server or a download",
    "serve": "the endpoint",
    "lora": "low-rank updates of a transformer",
    "gguf": "tables from a model's own file, and `enable_embeddings`",
    "onnx": "export and use of ONNX",
    "ray": "a cluster",
}
# what a part is called on the command line, and what its page tells first
GROUPS = {
    "model": "Heads: `model=`",
    "loss": "Losses: `loss=`",
    "data": "Sources of pairs and test sets: `data=`, `extra=`",
    "embedder": "Embedding models: `student=`, `teacher=`",
    "index": "Engines of indexes: `index=`, `source=`, `target=`",
    "generator": "Generators of sentences: `generator=`",
    "engine": "Who does the work: `engine=`",
    "device": "Devices: `device=`",
}


def on_config(config: MkDocsConfig, **_: Any) -> MkDocsConfig:
    """Put the generated pages into the menu."""
    for entry in config.nav or []:
        if "Commands" in entry:
            entry["Commands"] = ["commands/index.md", *({name: f"commands/{name}.md"} for name in commands())]
        if "Parts" in entry:
            entry["Parts"] = ["parts/index.md", *({group: f"parts/{group}.md"} for group in _groups())]
    return config


def on_files(files: Files, config: MkDocsConfig, **_: Any) -> Files:
    """Add the generated pages."""
    pages = {"commands/index.md": _commands(), "parts/index.md": _parts()}
    pages |= {f"commands/{name}.md": _command(name) for name in commands()}
    pages |= {f"parts/{group}.md": _group(group) for group in _groups()}
    for place, text in pages.items():
        files.append(File.generated(config, place, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Fill in what the code knows: a word in capitals that stands alone in a line of its page."""
    filled = {
        "install.md": {"EXTRAS": _extras},
        "figures.md": {
            "ROWS": _rows,
            "COLUMNS": _columns,
            "VERDICT": _verdict,
            "LIMITS": lambda: "\n".join(f"- {one}" for one in LIMITS),
        },
    }
    for word, make in filled.get(page.file.src_uri, {}).items():
        markdown = markdown.replace(f"\n{word}\n", f"\n{make()}\n")
    return re.sub(r"^REPORT (\w+)$", _report, markdown, flags=re.MULTILINE)


def _report(found: re.Match[str]) -> str:
    """A link to a whole report, where `make_gallery.py` has made it."""
    path = f"reports/{found[1]}.html"
    return f"[The whole report]({path})" if (Path(__file__).parent / path).is_file() else ""


def _extras() -> str:
    with open("pyproject.toml", "rb") as file:
        extras = tomllib.load(file)["project"]["optional-dependencies"]
    named = {name: ABOUT_EXTRAS.get(name, "") for name in extras if name not in ("dev", "bench", "docs", "all")}
    return "\n".join(
        f"`{name}`\n:   {about or ', '.join(map(_package, extras[name]))}\n" for name, about in named.items()
    )


def _package(requirement: str) -> str:
    return "`" + re.split(r"[<>=!~; ]", requirement)[0] + "`"


def _rows() -> str:
    return "\n".join(
        f"`{name}`\n:   {use}  \n    {queries} → {corpus}\n" for name, (queries, corpus, use) in ROWS.items()
    )


def _columns() -> str:
    return "\n".join(f"{one.heading} (`{one.value}`)\n:   {_escaped(one.meaning)}\n" for one in Column)


def _verdict() -> str:
    """The rules, from the docstring of the function that applies them."""
    rules = (inspect.getdoc(decide) or "").partition("\n\n")[2]
    return rules.replace("`BROKEN_SHARE`", f"`{BROKEN_SHARE}`")


def _groups() -> list[str]:
    """The groups that a user chooses from; one that YAMLs fill in themselves has no page."""
    mounted = {mount.group for name in commands() for mount in mounts_of(name) if not mount.optional}
    return sorted(mounted, key=lambda group: (list(GROUPS).index(group) if group in GROUPS else len(GROUPS), group))


def _commands() -> str:
    lines = ["# Commands", "", "Every command is `python -m alignkit.NAME`, or `alignkit NAME`.", ""]
    lines += [f"[`{name}`]({name}.md)\n:   {summary}\n" for name, summary in summaries().items()]
    return "\n".join(lines)


def _parts() -> str:
    lines = ["# Parts", "", "A command is put together from parts. Each has settings of its own.", ""]
    for group in _groups():
        choices = ", ".join(f"[`{choice}`]({group}.md#{choice})" for choice in group_choices(group))
        lines += [f"[{GROUPS.get(group, group)}]({group}.md)\n:   {choices}\n"]
    return "\n".join(lines)


def _command(name: str) -> str:
    tree = ast.parse((Path(conf_folder()).parent / "alignkit" / f"{name}.py").read_text(encoding="utf-8"))
    summary = ast.get_docstring(tree) or ""
    yaml = (conf_folder() / f"{name}.yaml").read_text(encoding="utf-8")
    defaults, _, settings = yaml.partition("_self_\n")
    lines = [f"# {name}", "", _escaped(summary), "", "```", *_examples(tree), "```", ""]
    groups = [mount for mount in mounts_of(name) if not mount.optional]
    if groups:
        lines += ["## Groups", "", "One choice each; its settings follow as `group.setting=value`.", ""]
    for mount in groups:
        told = re.search(rf"@{mount.place}: null +# null: (.*)", defaults)
        default = told[1] if told else f"`{mount.default}`" if mount.default else "none"
        choices = ", ".join(
            f"[`{choice}`](../parts/{mount.group}.md#{choice})" for choice in group_choices(mount.group)
        )
        lines += [f"`{mount.place}=`\n:   {choices}  \n    Default: {_escaped(default)}\n"]
    return "\n".join([*lines, "## Settings", "", *_settings(settings)])


def _examples(tree: ast.Module) -> list[str]:
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "EXAMPLES":
            return [str(example) for example in ast.literal_eval(node.value)]
    return []


def _group(group: str) -> str:
    lines = [f"# {GROUPS.get(group, group)}", ""]
    for choice in group_choices(group):
        text = (conf_folder() / group / f"{choice}.yaml").read_text(encoding="utf-8")
        lines += [f"## {choice}", "", *_settings(text)]
    return "\n".join(lines)


def _settings(yaml: str) -> Iterator[str]:
    """The settings of a YAML as a list of definitions, which a narrow screen shows as well as a wide one."""
    above: list[str] = []
    for line in yaml.splitlines():
        found = _SETTING.fullmatch(line.rstrip())
        if found is None or found["name"].startswith("_"):
            if line.strip().startswith("# "):
                yield _escaped(line.strip()[2:])  # lines of a comment that stand together are one paragraph
            elif not line.strip():
                yield ""
            elif line.strip().startswith("- "):
                yield f"\n`{line.strip()}`\n"
            continue
        yield ""
        above = above[: len(found["indent"]) // 2] + [found["name"].strip()]
        value = found["value"].replace("???", "")
        shown = f" = `{value}`" if value else "" if found["value"] == "" else " must be given"
        yield f"`{'.'.join(above)}`{shown}\n:   {_escaped(found['about'] or '–')}\n"


def _escaped(text: str) -> str:
    """Text of a comment as Markdown: what looks like a tag or a list stays as it is written."""
    return re.sub(r"([<>*_|\[\]])", r"\\\1", text)

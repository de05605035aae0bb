"""Commands in messages, quoted so that the reader's shell takes them back letter for letter."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterable

# what each shell passes on unquoted; anything else puts the word in quotes
_SAFE_IN_CMD = re.compile(r"[\w.:/\\=+~@,\[\]{}$#*?-]+", re.ASCII)
_SAFE_IN_POWERSHELL = re.compile(r"[\w.:/\\=+~-]+", re.ASCII)
# PowerShell ends a quoted word at typographic quotes too
_POWERSHELL_QUOTES = re.compile("(['\u2018\u2019\u201a\u201b])")
_BACKSLASHES_BEFORE_QUOTE = re.compile(r'(\\*)("|\Z)')


def command_line(command: str, words: Iterable[object] = (), shell: str | None = None) -> str:
    """`python -m alignkit.<command> …` for the shell at hand.

    Args:
        command: its name, `train`.
        words: settings, each `name=value` as the command shall get it.
        shell: see `quoted`.

    >>> command_line("train", ["resume=my runs/1", "seed=0"], shell="sh")
    "python -m alignkit.train 'resume=my runs/1' seed=0"
    """
    shell = shell or shell_at_hand()
    return " ".join([f"python -m alignkit.{command}", *(quoted(str(word), shell) for word in words)])


def quoted(word: str, shell: str | None = None) -> str:
    r"""One word of a command line, in quotes only where the shell needs them.

    Args:
        word: what the program shall get.
        shell: `cmd`, `powershell` (5.1), `pwsh` (7 and later), anything else for POSIX; None asks which is at hand.

    >>> quoted(r"resume=C:\Users\Some Body\run", "cmd")
    '"resume=C:\\Users\\Some Body\\run"'
    >>> quoted("out=it's $5", "powershell")
    "'out=it''s $5'"
    """
    shell = shell or shell_at_hand()
    if shell == "cmd":
        return _quoted_for_cmd(word)
    if shell in ("powershell", "pwsh"):
        return _quoted_for_powershell(word, escape_quotes=shell == "powershell")
    return shlex.quote(word)


def shell_at_hand() -> str:
    """The shell that this process was started from: `cmd`, `powershell` or `pwsh` on Windows, else `sh`."""
    if os.name != "nt":
        return "sh"
    import shellingham

    try:
        return str(shellingham.detect_shell()[0])
    except shellingham.ShellDetectionFailure:  # started from the Explorer, a service, another program
        return "cmd"


def _quoted_for_cmd(word: str) -> str:
    if _SAFE_IN_CMD.fullmatch(word):
        return word
    # a doubled quote is one quote to the program, and leaves cmd inside the quoted part
    inside = _BACKSLASHES_BEFORE_QUOTE.sub(lambda found: found[1] * 2 + found[2] * 2, word)
    # cmd replaces %NAME% inside quotes as well; only outside them can the sign be escaped
    return f'"{inside}"'.replace("%", '"^%"')


def _quoted_for_powershell(word: str, escape_quotes: bool) -> str:
    if _SAFE_IN_POWERSHELL.fullmatch(word):
        return word
    if escape_quotes:  # 5.1 hands the word on without escaping the quotes in it
        word = _BACKSLASHES_BEFORE_QUOTE.sub(lambda found: found[1] * 2 + (r"\"" if found[2] else ""), word)
    return "'" + _POWERSHELL_QUOTES.sub(r"\1\1", word) + "'"

import json
import os
import shutil
import subprocess
import sys

import pytest

from alignkit.pasting import command_line, quoted

WORDS = [
    r"resume=C:\Users\Some Body\my project\run",
    "sentences=data\\short sentences\\sentences.txt",
    "C:\\data (1)\\",
    "C:\\my data\\",
    "\\\\server\\share\\s.txt",
    "outputs/train/it's a run",
    "student.query_prompt= passage: ",
    'say "hi" & leave',
    '"quoted"',
    "50% of %PATH%",
    "$HOME/x",
    "a,b;c|d<e>f^g",
    "[draft] {1} (2)",
    "#1 `x` !",
    "短句 ‘1’.npy",
    "",
    "a@b",
    "back\\\"slash",
]  # fmt: skip
ARGUMENTS = [sys.executable, "-c", "import json, sys; print(json.dumps(sys.argv[1:]))"]


@pytest.mark.skipif(os.name == "nt", reason="needs a POSIX shell")
def test_a_posix_shell_gives_every_word_back():
    line = " ".join(quoted(word, "sh") for word in (*ARGUMENTS, *WORDS))
    done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, encoding="utf-8")
    assert json.loads(done.stdout) == WORDS


@pytest.mark.skipif(os.name != "nt", reason="needs Windows")
def test_cmd_gives_every_word_back():
    line = " ".join(quoted(word, "cmd") for word in (*ARGUMENTS, *WORDS))
    done = subprocess.run(f"cmd /d /c {line}", capture_output=True, text=True, encoding="utf-8")
    assert json.loads(done.stdout) == WORDS


@pytest.mark.skipif(shutil.which("pwsh") is None, reason="needs PowerShell 7")
def test_powershell_gives_every_word_back():
    line = "& " + " ".join(quoted(word, "pwsh") for word in (*ARGUMENTS, *WORDS))
    done = subprocess.run(["pwsh", "-NoProfile", "-Command", line], capture_output=True, text=True, encoding="utf-8")
    assert json.loads(done.stdout) == WORDS


def windows_arguments(line):
    """The words of a command line as Microsoft's C runtime, and so Python, splits it."""
    words, word, inside, place, given = [], "", False, 0, False
    while place < len(line):
        slashes = len(line[place:]) - len(line[place:].lstrip("\\"))
        place += slashes
        if place < len(line) and line[place] == '"':
            word += "\\" * (slashes // 2)
            if slashes % 2:
                word += '"'
            elif inside and line[place + 1 : place + 2] == '"':
                word, place = word + '"', place + 1
            else:
                inside, given = not inside, True
            place += 1
            continue
        word += "\\" * slashes
        if place < len(line) and (inside or line[place] != " "):
            word += line[place]
        elif word or given:
            words, word, given = [*words, word], "", False
        place += 1
    return [*words, word] if word or given else words


@pytest.mark.parametrize("word", WORDS)
def test_cmd_and_the_c_runtime_give_a_word_back(word):
    line = quoted(word, "cmd")
    inside, passed = False, ""
    for place, sign in enumerate(line):  # what cmd does: outside quotes, ^ escapes the next sign
        inside ^= sign == '"'
        if sign == "^" and not inside:
            continue
        assert inside or sign not in " &|<>()" or line[place - 1] == "^", "cmd would end the command here"
        assert sign != "%" or line[place - 1] == "^", "cmd would look for a variable here"
        passed += sign
    assert windows_arguments(f"python {passed}") == ["python", word]


def test_powershell_takes_single_quotes_and_doubles_those_inside():
    assert quoted(r"resume=C:\Users\Some Body\run", "pwsh") == r"'resume=C:\Users\Some Body\run'"
    assert quoted("it's ‘here’ $5", "pwsh") == "'it''s ‘‘here’’ $5'"
    assert quoted('say "hi"', "powershell") == "'say \\\"hi\\\"'" and quoted('say "hi"', "pwsh") == "'say \"hi\"'"
    assert quoted("a,b", "pwsh") == "'a,b'" and quoted("seed=0", "pwsh") == "seed=0"


def test_a_command_is_quoted_for_the_shell_at_hand():
    words = [r"resume=C:\Some Body\run", "seed=0"]
    assert command_line("train", words, "cmd") == r'python -m alignkit.train "resume=C:\Some Body\run" seed=0'
    if os.name != "nt":
        assert command_line("train", words) == r"python -m alignkit.train 'resume=C:\Some Body\run' seed=0"

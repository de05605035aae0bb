"""Teach a shell to ask alignkit at Tab: a small script where the shell looks for it, and a line in its own file."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from argcomplete.shell_integration import shellcode

from alignkit.errors import ConfigError
from alignkit.pasting import quoted
from alignkit.setting_rules import did_you_mean

SHELLS = ("bash", "zsh", "fish", "powershell", "pwsh")
PROGRAM = "alignkit"
INSTALL, SHOW = "--install-completion", "--show-completion"
# what is written where the reader may look: why it is there, and how to be rid of it
_NOTE = "# completion of alignkit at Tab; delete this line to turn it off"


def script_for(shell: str | None) -> str:
    """The script that a shell reads.

    Args:
        shell: one of `SHELLS`; None for the one at hand.

    Raises:
        ConfigError: for another shell.
    """
    shell = known_shell(shell)
    return shellcode([PROGRAM], shell="powershell" if shell == "pwsh" else shell)


def install_completion(shell: str | None) -> str:
    """Write the script, and the line that makes the shell read it; doing so again changes nothing.

    Args:
        shell: see `script_for`.

    Returns:
        What was done, and what is left to do.

    Raises:
        ConfigError: for a shell that is not known, or a file that cannot be written.
    """
    shell = known_shell(shell)
    script, own_file, line = _places(shell)
    try:
        _write(script, script_for(shell))
        if own_file is not None:
            _add_line(own_file, line)
    except OSError as error:
        raise ConfigError(
            f"{error.filename}: cannot be written ({error.strerror}); put the output of "
            f"{PROGRAM} --show-completion {shell} where your shell reads it"
        ) from None
    told = f" and {own_file}" if own_file is not None else ""
    return f"{shell} completes {PROGRAM} at Tab from now on; written: {script}{told}. Open a new terminal."


def known_shell(shell: str | None) -> str:
    """The shell by its name, or the one that this process was started from.

    Raises:
        ConfigError: if it is none of `SHELLS`.
    """
    found = shell or _at_hand()
    if found not in SHELLS:
        named = f"'{found}' is not one of them" if found else "which shell this is could not be found out"
        raise ConfigError(
            f"completion is there for {', '.join(SHELLS)}; {named}{did_you_mean(found, SHELLS)}; "
            f"name yours: {PROGRAM} --install-completion bash"
        )
    return found


def _at_hand() -> str:
    import shellingham

    try:
        return str(shellingham.detect_shell()[0])
    except shellingham.ShellDetectionFailure:
        return Path(os.environ.get("SHELL", "")).name


def _places(shell: str) -> tuple[Path, Path | None, str]:
    """Where the script goes, and the shell's own file with the line that it needs; fish needs none."""
    home = Path.home()
    config = Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config")
    if shell == "fish":
        return config / "fish" / "completions" / f"{PROGRAM}.fish", None, ""
    if shell in ("powershell", "pwsh"):
        script = config / PROGRAM / "completion.ps1"
        return script, _profile_of(shell), f". {quoted(str(script), shell)}"
    script = config / PROGRAM / f"completion.{shell}"
    if shell == "zsh":
        start = "(( $+functions[compdef] )) || { autoload -Uz compinit && compinit; }; "
        return script, Path(os.environ.get("ZDOTDIR") or home) / ".zshrc", f"{start}source {quoted(str(script), 'sh')}"
    return script, home / ".bashrc", f"source {quoted(str(script), 'sh')}"


def _profile_of(shell: str) -> Path:
    """PowerShell's own file, which it alone knows: Documents may lie elsewhere."""
    asked = [shell, "-NoProfile", "-Command", "$PROFILE"]
    try:
        said = subprocess.run(asked, capture_output=True, text=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        raise ConfigError(f"{shell} does not say where its profile is ({type(error).__name__})") from None
    return Path(said.stdout.strip())


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", newline="\n")


def _add_line(path: Path, line: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    before = path.read_text(encoding="utf-8", errors="surrogateescape") if path.exists() else ""
    if line in before.splitlines():
        return
    with path.open("a", encoding="utf-8") as file:
        file.write(f"{'' if not before or before.endswith(chr(10)) else chr(10)}{_NOTE}\n{line}\n")


def main(arguments: list[str]) -> int:
    """`alignkit --install-completion [SHELL]` and `--show-completion [SHELL]`; returns the exit code."""
    shell = arguments[1] if len(arguments) > 1 else None
    try:
        print(install_completion(shell) if arguments[0] == INSTALL else script_for(shell))  # noqa: T201
    except ConfigError as error:
        print(f"{PROGRAM}: {error}", file=sys.stderr)  # noqa: T201
        return 1
    return 0

"""Completion: what a shell offers after the script was read."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from srv.cli import main

Capture = pytest.CaptureFixture[str]


def completed(script: str, line: str, folder: Path) -> list[str]:
    """Return what bash offers at the end of a command line: it calls the function of the script as bash itself does."""
    words = line.split(" ")
    commands = f"""{script}
COMP_WORDS=({" ".join(words[:-1])} '{words[-1]}')
COMP_CWORD={len(words) - 1}
COMP_LINE='{line}'
COMP_POINT={len(line)}
"$(complete -p zonekeeper | sed 's/.*-F \\([^ ]*\\) .*/\\1/')" zonekeeper '{words[-1]}' '{words[-2]}'
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
    done = subprocess.run(
        ["bash", "--norc", "-c", commands], cwd=folder, capture_output=True, text=True, check=True, timeout=30
    )
    assert done.stderr == ""
    return done.stdout.split()


@pytest.fixture
def bash_script(capsys: Capture) -> str:
    """Return what `zonekeeper completion bash` prints."""
    assert main(["completion", "bash"]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("zonekeeper mig", ["migrate"]),
        ("zonekeeper migrate --dry", ["--dry-run"]),
        ("zonekeeper serve --snapshot", ["--snapshot-bytes-max"]),
        ("zonekeeper completion z", ["zsh"]),
        ("zonekeeper status --data-dir ba", ["backups"]),
        ("zonekeeper backup ba", ["backups", "batch.db"]),
        ("zonekeeper no-such", []),
    ],
)
def test_bash_completes(bash_script: str, tmp_path: Path, line: str, offered: list[str]) -> None:
    """Commands, options, words to choose from, directories and files."""
    (tmp_path / "backups").mkdir()
    (tmp_path / "batch.db").touch()
    assert sorted(completed(bash_script, line, tmp_path)) == offered


@pytest.mark.parametrize(("shell", "mark"), [("zsh", "#compdef zonekeeper"), ("tcsh", "complete zonekeeper")])
def test_other_shells_have_a_script_as_well(capsys: Capture, shell: str, mark: str) -> None:
    """It speaks of our commands in the words of that shell."""
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert mark in script
    assert "migrate" in script


def test_a_shell_that_is_not_known_is_wrong_usage(capsys: Capture) -> None:
    """The error names those that are."""
    with pytest.raises(SystemExit) as ended:
        main(["completion", "no-such-shell"])
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert all(shell in said for shell in ("bash", "zsh", "tcsh"))

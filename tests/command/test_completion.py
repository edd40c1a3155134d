"""What the shell is told: versions, help, and words that complete a line."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from flywheel import __version__
from flywheel.command.cli import app
from flywheel.command.completion import script
from flywheel.project.errors import ConfigError

Run = Callable[..., subprocess.CompletedProcess[str]]


def commands() -> list[list[str]]:
    def below(group: object, path: list[str]) -> list[list[str]]:
        found = [path]
        for name, one in getattr(group, "commands", {}).items():
            found += below(one, [*path, name])
        return found

    return below(typer.main.get_command(app), [])


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_every_command_takes_h(words: list[str]) -> None:
    done = CliRunner().invoke(app, [*words, "-h"])
    assert done.exit_code == 0
    assert "Usage:" in done.output


def test_the_version_is_printed() -> None:
    done = CliRunner().invoke(app, ["--version"])
    assert (done.exit_code, done.output) == (0, f"flywheel {__version__}\n")


def test_flywheel_completes_its_commands_and_tasks(
    project: Path, with_tasks: Callable[..., None], run_flywheel: Run
) -> None:
    with_tasks("digits", "diabetes")
    asked = {"_FLYWHEEL_COMPLETE": "complete_bash", "COMP_CWORD": "2", "COMP_WORDS": "flywheel predict di"}
    program = "import sys; sys.argv = ['flywheel']; from flywheel.command.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | asked,
        cwd=project,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.split() == ["digits", "diabetes"]


def test_bash_completes_overrides_of_the_application(project: Path) -> None:
    """The printed script, with what bash sets while a line is typed."""
    line = "python -m flywheel.train task=fsdd_"
    program = (
        'set -e; python() { "$PYTHON" "$@"; }\n'
        'eval "$(python -m flywheel.train --shell-completion install=bash)"\n'
        'COMP_LINE=$LINE; COMP_POINT=${#COMP_LINE}; COMP_WORDS=($COMP_LINE); _flywheel_train; echo "${COMPREPLY[@]}"\n'
        'COMP_LINE="python x.py ta"; COMPREPLY=(); _flywheel_train; echo "none: ${COMPREPLY[@]}"'
    )
    environment = {**os.environ, "PYTHONPATH": str(project / "src"), "PYTHON": sys.executable, "LINE": line}
    done = subprocess.run(
        ["bash", "-c", program], env=environment, cwd=project, capture_output=True, text=True, check=False
    )
    assert done.stdout == "task=fsdd_speakers\nnone: \n", done.stderr


def test_another_shell_is_told_what_works() -> None:
    with pytest.raises(ConfigError, match=r"install=fish is not known; in bash: eval .*install=bash"):
        script(["--shell-completion", "install=fish"])

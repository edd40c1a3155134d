"""What the user sees: the guesses with their reasons, the warnings, and what to do next."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import PurePosixPath

import yaml
from rich.table import Table

from flywheel.init_task.verb import NewTask


def table(task: NewTask) -> Table:
    """The guesses for a terminal."""
    made = Table(title=f"{task.name}: what was guessed, and why", title_justify="left")
    for column in ("what", "guess", "why"):
        made.add_column(column, overflow="fold")
    for note in task.guess.notes:
        made.add_row(note.what, note.guess, note.why)
    return made


def ask(question: str, answers: Sequence[str]) -> str:
    """Ask in the terminal; an answer's number will do for it."""
    import typer

    typer.echo(question)
    for number, answer in enumerate(answers, start=1):
        typer.echo(f"  {number:>2}  {answer}")
    while True:
        said = str(typer.prompt("its number or name"))
        if said in answers:
            return said
        if said.isdigit() and 1 <= int(said) <= len(answers):
            return answers[int(said) - 1]
        typer.echo(f"'{said}' is not one of them")


def next_lines(task: NewTask, *, written: bool) -> list[str]:
    """Warnings, then what was written, then the next commands."""
    lines = [f"warning: {warning}" for warning in task.guess.warnings]
    if not written:
        for path, text in task.files.items():
            lines += ["", f"--- {path}", text.rstrip("\n")]
        return [*lines, "", "nothing was written (--dry-run)"]
    lines.append(f"wrote {', '.join(sorted(task.files))}, a line in conf/config.yaml, and params.yaml")
    report = f"artifacts/{task.name}/report/report.html"
    return [
        *lines,
        "next:",
        f"  dvc repro evaluate@{task.name}    # train and measure; then see {report}",
        f"  dvc repro register@{task.name}    # and put the model into the registry, for `flywheel predict`",
        "before `dvc exp run --temp` or `--queue`, whose copies hold only what git and DVC know:",
        f"  {' && '.join(_tracking(task))}",
    ]


def _tracking(task: NewTask) -> list[str]:
    """The commands after which git and DVC know all that the task needs."""
    source = yaml.safe_load(task.files[f"conf/data/{task.name}.yaml"])["download"]["sources"][0]["uri"]
    place = PurePosixPath(source.removeprefix("file:"))
    if place.is_absolute():  # outside of the project: every copy reads it there
        return ["git add conf data"]
    beside = [] if place.parts[0] == "data" else [f"{place}.dvc", str(place.parent / ".gitignore")]
    return [f"dvc add {shlex.quote(str(place))}", shlex.join(["git", "add", "conf", "data", *beside])]

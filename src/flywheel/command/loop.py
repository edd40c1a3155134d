"""`flywheel loop`: retrain on corrections, and roll back a champion that is worse."""

from __future__ import annotations

import signal
from typing import Annotated, Any

import typer

from flywheel.command.arguments import TaskName
from flywheel.command.output import show_table
from flywheel.project.errors import FlywheelError


def loop(
    task: TaskName,
    once: Annotated[
        bool, typer.Option("--once", help="Take one turn, then end; for cron. This is the default.")
    ] = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Take turn after turn, at the pace of conf/loop.yaml.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done and why, and do nothing.")] = False,
    log: Annotated[bool, typer.Option("--log", help="Show what was decided and done so far.")] = False,
) -> None:
    """Retrain a task where its traffic has drifted or there are enough corrections; exit code 1 where that fails."""
    from flywheel import loop as verb

    if (watch and (once or dry_run or log)) or (log and (once or dry_run)):
        raise FlywheelError("these options exclude each other", where="loop", fix="give one of --once, --watch, --log")
    if log:
        entries = verb.journal_of(task).read()
        if not entries:
            raise FlywheelError("the loop has done nothing yet", where=task, fix=f"run `flywheel loop {task}`")
        show_table(verb.table(entries, task))
        return
    if watch:
        signal.signal(signal.SIGTERM, _stop)
        for turn in verb.keep_on(task):
            typer.echo(_line(turn))
    done = verb.once(task, dry_run=dry_run)
    typer.echo(("would " if dry_run else "") + _line(done))
    raise typer.Exit(1 if done.failed else 0)


def _line(turn: Any) -> str:
    entry = turn.entry
    moved = (
        f" (champion {entry.old_version} -> {entry.new_version})"
        if entry.outcome in ("promoted", "rolled back")
        else ""
    )
    return f"{entry.action}{f': {entry.outcome}' if entry.outcome else ''}{moved}: {entry.why}"


def _stop(*_: object) -> None:
    raise SystemExit(143)

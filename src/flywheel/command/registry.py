"""`flywheel registry`: list, promote and roll back registered models."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from flywheel.command.arguments import TaskName
from flywheel.command.output import AsJson, show_json, show_table
from flywheel.project.errors import FlywheelError

app = typer.Typer(no_args_is_help=True, help="List, promote and roll back registered models.")


@app.command("list")
def registry_list(
    task: Annotated[
        str | None, typer.Argument(metavar="[TASK]", help="A registered task; by default all of them.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List registered models, newest first, and for one task the history of its champions."""
    from flywheel.project.tracking import prepare
    from flywheel.registry import aliases, listing
    from flywheel.registry.versions import how_to_register, registered_here

    client = prepare()
    found = listing.list_versions(task)
    if not found:
        raise FlywheelError(
            "no versions are registered", where=task or "registry", fix=how_to_register(*registered_here())
        )
    events = aliases.history(client, task) if task else []
    if as_json:
        versions = [listing.facts(one) for one in found]
        remarks, history = listing.remarks(found), [asdict(one) for one in events]
        show_json({"versions": versions, "remarks": remarks, "history": history})
        return
    show_table(listing.table(found))
    for remark in listing.remarks(found):
        typer.echo(remark)
    for event in events:
        typer.echo(f"{event.time[:16]}  {event.action} version {event.after} by {event.actor}: {event.why}")


@app.command("promote")
def registry_promote(
    task: TaskName,
    version: Annotated[str, typer.Argument(metavar="VERSION", help="Number or alias of a version.")],
    why: Annotated[str, typer.Option(help="Reason, for the log.")] = "by hand",
) -> None:
    """Make a version the champion, whatever the gate has decided."""
    from flywheel.registry.aliases import promote_by_hand

    event = promote_by_hand(task, version, why)
    typer.echo(f"{task}: champion is now version {event.after} (was {event.before or 'none'})")


@app.command("rollback")
def registry_rollback(
    task: TaskName, why: Annotated[str, typer.Option(help="Reason, for the log.")] = "by hand"
) -> None:
    """Make the champion before the present one champion again."""
    from flywheel.registry.aliases import rollback

    event = rollback(task, why)
    typer.echo(f"{task}: champion is now version {event.after} (was {event.before})")

"""`flywheel monitor`: has the traffic drifted, and are the answers still right?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flywheel.command.arguments import TaskName
from flywheel.command.output import AsJson, show_json, show_table


def monitor(
    task: TaskName,
    since: Annotated[str, typer.Option(help="How far back to look: 30m, 12h, 7d, 2w.")] = "7d",
    last: Annotated[
        int | None, typer.Option(help="Look at no more than this number of predictions, the latest.")
    ] = None,
    prometheus: Annotated[
        Path | None, typer.Option(help="File to write the figures to as well, for Prometheus' textfile collector.")
    ] = None,
    webhook: Annotated[
        str | None,
        typer.Option(help="Address to send an alert to; by default that of FLYWHEEL_WEBHOOK_URL.", show_default=False),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Compare the traffic of a task with what its champion was trained on; exit code 1 where it has drifted."""
    from flywheel import watch as verb
    from flywheel.monitor.metrics import write_metrics
    from flywheel.monitor.webhook import webhook_url

    webhook_url(webhook)  # a wrong address is said before the work
    done = verb.watch(task, since=since, last=last)
    if prometheus is not None:
        write_metrics(done.check, prometheus)
    if as_json:
        show_json(done.check.to_json())
    else:
        show_table(verb.table(done.check))
        for reason in done.check.reasons:
            typer.echo(reason)
        if not done.check.alarm:
            typer.echo("nothing has drifted, as far as these rows tell")
        typer.echo(f"see {done.folder / verb.PAGE}")
    verb.alert(done.check, webhook)
    raise typer.Exit(1 if done.check.alarm else 0)

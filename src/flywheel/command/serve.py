"""`flywheel serve`: tasks' champions behind HTTP."""

from __future__ import annotations

from typing import Annotated

import typer


def serve(
    tasks: Annotated[
        list[str] | None,
        typer.Argument(metavar="[TASK]...", help="Registered tasks to serve; by default all that have a champion."),
    ] = None,
    host: Annotated[
        str | None, typer.Option(help="Address to listen on; any other than loopback needs tokens.")
    ] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0: a free one.")] = None,
    workers: Annotated[int | None, typer.Option(help="Number of processes that answer.")] = None,
    tokens: Annotated[
        str | None, typer.Option(metavar="FILE", help="File with a line `name token` for each client.")
    ] = None,
    record: Annotated[str | None, typer.Option(help="What is kept of predictions: off, hash or full.")] = None,
    rate: Annotated[
        float | None, typer.Option(help="Requests a second of one client to one worker; 0: no limit.")
    ] = None,
) -> None:
    """Serve the champions of tasks over HTTP, and swap to new champions without losing a request."""
    from flywheel import serve as verb
    from flywheel.project.params import home_root

    verb.serve(
        tasks or [], typer.echo, root=home_root(), host=host, port=port, workers=workers, tokens=tokens, record=record,
        rate_per_second=rate,
    )  # fmt: skip

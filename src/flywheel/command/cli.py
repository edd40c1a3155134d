"""The command line. Each command imports what it needs when it runs, so that `flywheel --help` answers at once."""

from __future__ import annotations

import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from flywheel import __version__
from flywheel.command import feedback as feedback_commands
from flywheel.command import loop, monitor, registry, serve
from flywheel.command.arguments import TaskName
from flywheel.command.output import AsJson, show_json, show_table
from flywheel.project.errors import FlywheelError
from flywheel.project.stage import explained, set_up_process

app = typer.Typer(
    name="flywheel",
    help="From data to a registered, served, monitored model and back. `dvc repro` builds; these commands do the rest.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)
app.add_typer(feedback_commands.app, name="feedback")
app.add_typer(registry.app, name="registry")
app.command("serve")(serve.serve)
app.command("monitor")(monitor.monitor)
app.command("loop")(loop.loop)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"flywheel {__version__}")
        raise typer.Exit


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Set up the process for all commands."""
    set_up_process()


@app.command()
def params(
    check: Annotated[
        bool, typer.Option("--check", help="Only check conf/, and that params.yaml is not stale (else exit code 1).")
    ] = False,
) -> None:
    """Compose params.yaml from conf/, and restore a dvc.lock that a kill has left half written."""
    from flywheel.learner.task_check import check_task
    from flywheel.project.compose import PLOTS, compose_params, is_stale, plots_of, write_params
    from flywheel.project.dvc_lock import keep_or_restore, refuse_while_dvc_works
    from flywheel.project.params import project_root

    root = project_root()
    if check:
        # Keys, types and targets, also where params.yaml agrees with a conf/ that is wrong.
        compose_params(root, check=check_task)
        stale = "params.yaml" if is_stale(root) else ""
        plots = (root / PLOTS).read_text() if (root / PLOTS).is_file() else ""
        if not stale and plots != plots_of((root / "params.yaml").read_text()):
            stale = PLOTS
        if stale:
            typer.echo(f"{stale} differs from what conf/ composes to; run `make params`", err=True)
            raise typer.Exit(1)
        return
    refuse_while_dvc_works(root)
    keep_or_restore(root)
    typer.echo("params.yaml is composed anew" if write_params(root, check_task) else "params.yaml is up to date")


@app.command("init-task")
def init_task(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the new task.")],
    source: Annotated[
        Path,
        typer.Option(
            "--from",
            metavar="PATH",
            help="A .csv, .tsv, .parquet or .jsonl file, or a folder with a folder for each class.",
        ),
    ],
    target: Annotated[str | None, typer.Option(metavar="COLUMN", help="The column to predict.")] = None,
    modality: Annotated[
        str | None, typer.Option(help="Kind of data: tabular, text, image, audio or interactions; else it is guessed.")
    ] = None,
    kind: Annotated[str | None, typer.Option(help="Kind of the target: class or number; else it is guessed.")] = None,
    user: Annotated[str | None, typer.Option(metavar="COLUMN", help="The user, in a table of interactions.")] = None,
    item: Annotated[str | None, typer.Option(metavar="COLUMN", help="The item, in a table of interactions.")] = None,
    time: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN", help="The time of a row. In a table with a target, the latest rows become test."
        ),
    ] = None,
    group: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Rows with the same value stay together in train or in test.")
    ] = None,
    weight: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="How much a row counts in training: a number above 0.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing task of this name.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be written, and write nothing.")] = False,
) -> None:
    """Make a task from your own data: look at the data, guess what they are, and write the configuration."""
    from flywheel.init_task import show, verb
    from flywheel.init_task.guess import Wanted

    ask = show.ask if sys.stdin.isatty() and sys.stdout.isatty() else None
    wanted = Wanted(target, modality, kind, user, item, time, group, weight, ask=ask)
    made = verb.init_task(name, source, wanted=wanted, force=force, dry_run=dry_run)
    show_table(show.table(made))
    for line in show.next_lines(made, written=not dry_run):
        typer.echo(line)


@app.command()
def adopt(
    winner: Annotated[
        str,
        typer.Argument(
            metavar="SWEEP|RUN",
            help="Id of a run (6 characters are enough) or its name, name of a sweep, or the folder of either.",
        ),
    ],
    task: Annotated[
        str | None, typer.Option(metavar="NAME", help="Search only the sweeps and runs of this task.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Write even if conf/ has changed since the run.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be written, and write nothing.")] = False,
) -> None:
    """Write what a sweep's winner, or a run, changed into conf/task/TASK_adopted.yaml; the pipeline builds that."""
    from flywheel.command import adopt as verb

    done = verb.adopt(winner, task=task, force=force, dry_run=dry_run)
    if done.diff:
        typer.echo(done.diff)
    for line in verb.next_lines(done, written=not dry_run):
        typer.echo(line)


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """Check Python, torch, GPU, disk, DVC, MLflow, ports and sources; print a line for each, with a fix."""
    from flywheel.command.doctor import examine

    if as_json:
        findings = list(examine())
        show_json([asdict(finding) for finding in findings])
        raise typer.Exit(1 if any(finding.state == "bad" for finding in findings) else 0)
    bad = False
    for finding in examine():
        colour = {"ok": typer.colors.GREEN, "warn": typer.colors.YELLOW, "bad": typer.colors.RED}[finding.state]
        fix = f"  -> {finding.fix}" if finding.fix else ""
        typer.echo(f"{typer.style(f'{finding.state:4}', fg=colour)} {finding.what}: {finding.said}{fix}")
        bad |= finding.state == "bad"
    raise typer.Exit(1 if bad else 0)


@app.command()
def verify(
    fix: Annotated[
        bool, typer.Option(help="Restore damaged files from good copies, or remove them so that they are rebuilt.")
    ] = True,
) -> None:
    """Hash the files of the DVC cache, the download store and the registry; name and repair damaged ones."""
    from flywheel.command.verify import verify_cache, verify_store
    from flywheel.registry.integrity import verify_registry

    num_damaged = num_lost = 0
    for check in (verify_cache, verify_store, verify_registry):
        checked = check(fix=fix)
        megabytes = checked.num_bytes / 1e6
        typer.echo(f"{checked.store}: {checked.num_files} files, {megabytes:.1f} MB, {len(checked.damaged)} damaged")
        for one in checked.damaged:
            typer.echo(f"  damaged: {one.file} ({one.belongs_to}){'; ' + one.fixed if one.fixed else ''}")
            num_lost += not one.fixed
        num_damaged += len(checked.damaged)
    raise typer.Exit(1 if num_lost else 0)


@app.command()
def ui(port: Annotated[int, typer.Option(help="Port on 127.0.0.1.")] = 5000) -> None:
    """Start `mlflow ui`, to compare runs in a browser."""
    from flywheel.project import experiment
    from flywheel.project.database import is_database, masked
    from flywheel.project.tracking import artifact_root, prepare, registry_uri, tracking_uri

    client = prepare()
    uri = tracking_uri()
    if not is_database(uri):
        raise FlywheelError("runs are on a tracking server", where=masked(uri), fix="open that address in a browser")
    # Not as arguments, which every user of the machine can read: the URLs may hold a password.
    os.environ |= {"MLFLOW_BACKEND_STORE_URI": uri, "MLFLOW_REGISTRY_STORE_URI": registry_uri()}
    command = [sys.executable, "-m", "mlflow", "ui", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--default-artifact-root", str(artifact_root())]
    experiment.mark(client)
    typer.echo(f"{experiment.address(port)}  (Ctrl+C stops it)")
    for one in client.search_experiments(order_by=["name ASC"]):
        if one.experiment_id != experiment.DEFAULT:
            typer.echo(f"  {one.name}: {experiment.address(port, one.experiment_id)}")
    os.execv(sys.executable, command)  # noqa: S606 - no shell; Ctrl+C and kill reach the server itself


@app.command()
def predict(
    task: TaskName,
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="Pictures, recordings, texts or tables, or folders of them.")
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="A .csv, .parquet or .jsonl file for the answers; -: JSON lines on the standard output.",
        ),
    ] = None,
    version: Annotated[str | None, typer.Option(help="Number of a version to use instead of the champion.")] = None,
    alias: Annotated[
        str | None, typer.Option(help="Alias of a version, such as candidate, to use instead of the champion.")
    ] = None,
) -> None:
    """Predict the rows of files with the champion of a task."""
    from flywheel.command import predict as verb

    done = verb.predict(task, files, output=output, version=version, alias=alias)
    if output is None:
        show_table(verb.table(done))
    elif output != verb.STDOUT:
        typer.echo(f"{done.num_rows} rows answered by {done.version}, in {output}")


@app.command()
def trace(
    reference: Annotated[
        str,
        typer.Argument(
            metavar="REFERENCE",
            help="A version (fashion/3, fashion@champion), a run id, a model_sha256, or a prediction file.",
        ),
    ],
    feedback: Annotated[
        bool, typer.Option("--feedback", help="List the predictions whose corrections the version was trained with.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show where a model or a prediction comes from: run, commit, data hashes, source."""
    from flywheel.command import trace as verb

    if feedback:
        names = verb.feedback_of(reference)
        if as_json:
            show_json(names)
        else:
            typer.echo("".join(f"{name}\n" for name in names), nl=False)
        return
    if as_json:
        show_json(verb.trace(reference))
        return
    for number, found in enumerate(verb.trace(reference)):
        if number:
            typer.echo("")
        for line in verb.lines(found):
            typer.echo(line)


def main() -> None:
    """Run the command line; an error the user can fix is one line and exit code 2."""
    words = [word for word in sys.argv[1:] if word != "--debug"]  # it may stand anywhere
    with explained(debug="--debug" in sys.argv) as outcome:
        app(words)
    sys.exit(outcome.code)


if __name__ == "__main__":
    main()

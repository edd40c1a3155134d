"""`flywheel feedback`: pull, count, add and delete users' corrections."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flywheel.command.arguments import TaskName
from flywheel.command.output import AsJson, show_json, show_table

if TYPE_CHECKING:
    from flywheel.feedback.deletion import Deleted
    from flywheel.feedback.store import FeedbackStore

app = typer.Typer(
    no_args_is_help=True, help="Corrections that users send: pull them into train, count them, delete them."
)

Url = Annotated[
    str | None,
    typer.Option(
        "--store",
        metavar="URL",
        help="URL of the feedback store; by default that of FLYWHEEL_FEEDBACK_URL, or .flywheel/feedback/.",
    ),
]


@app.command("pull")
def feedback_pull(task: TaskName, url: Url = None) -> None:
    """Turn corrections into train rows in data/feedback/TASK/: validated, without held-out rows, within limits."""
    import os

    from flywheel.feedback.pull import pull
    from flywheel.project.params import load_task, project_root

    os.chdir(project_root())
    settings = load_task(task)
    data = Path("data")
    done = pull(settings, _store(url), data / "raw" / task, data / "processed" / task, data / "feedback" / task)
    typer.echo(f"{task}: {done.num_rows} rows for train, from {done.num_words} corrections in the store")
    for label, number in done.classes.items():
        typer.echo(f"  {number:6} {label or 'numbers'}")
    for rule, number in done.refused.items():
        typer.echo(f"  {number:6} not used: {RULES[rule]}")
    for why, number in done.reasons.items():
        typer.echo(f"  {number:6}   {why}")
    typer.echo(f"data/feedback/{task} is {'changed; run `dvc repro`' if done.changed else 'as it was'}")


@app.command("list")
def feedback_list(
    task: TaskName,
    rows: Annotated[int, typer.Option(help="Number of corrections to show, the latest.", min=1)] = 20,
    url: Url = None,
) -> None:
    """Show the latest corrections: when, by whom, about which prediction."""
    import collections

    from rich.table import Table

    from flywheel.feedback.figures import is_right

    table = Table("said", "client", "prediction", "version", "answer", "label", "right", box=None)
    for one in collections.deque(_store(url).answered(task, with_input=False), maxlen=rows):
        said, made = one.feedback, one.prediction
        table.add_row(
            f"{said.time:%Y-%m-%d %H:%M}", said.client or "-", made.prediction_id, str(made.version),
            str(made.answer.get("label", "-")), "-" if said.label is None else str(said.label),
            {None: "-", True: "yes", False: "no"}[is_right(made, said)],
        )  # fmt: skip
    show_table(table)


@app.command("stats")
def feedback_stats(task: TaskName, url: Url = None, as_json: AsJson = False) -> None:
    """Count corrections by class, client and day, and how often the model was right."""
    from flywheel.feedback.figures import figures_of

    found = figures_of(_store(url), task)
    if as_json:
        show_json({"task": task, **vars(found), "judged": found.judged, "accuracy": found.accuracy})
        return
    typer.echo(f"{task}: {found.num_predictions} predictions, {found.num_words} corrections")
    if found.accuracy is not None:
        typer.echo(f"right: {found.accuracy:.1%} of the {found.judged} predictions that were judged")
    for version, (judged, right) in sorted(found.versions.items()):
        typer.echo(f"  version {version}: {right} of {judged}")
    if found.errors:
        mean = sum(found.errors) / len(found.errors)
        typer.echo(f"mean absolute error: {mean:.4g} over {len(found.errors)} numbers")
    for title, counts in (("label", found.classes), ("client", found.clients), ("day", found.days)):
        for name, number in sorted(counts.items()):
            typer.echo(f"{title:8} {number:6} {name or '-'}")


@app.command("add")
def feedback_add(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A table with prediction_id, and label or correct.")],
    client: Annotated[str, typer.Option(help="Name of the client that they are recorded for.")] = "outcomes",
    url: Url = None,
) -> None:
    """Record outcomes that arrive later from a table."""
    from flywheel.feedback.outcomes import add_outcomes

    said = add_outcomes(_store(url), file, client)
    typer.echo(
        f"{said['stored']} stored, {said['known']} known already, {said['unknown_prediction']} for unknown predictions"
    )


@app.command("forget")
def feedback_forget(
    subject: Annotated[str, typer.Argument(metavar="SUBJECT", help="Key of the person, as sent with their requests.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be deleted.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before deleting, for scripts.")] = False,
    url: Url = None,
) -> None:
    """Delete everything about one person: stored rows, input files, and pulled rows."""
    import sys

    from flywheel.feedback import deletion
    from flywheel.project.errors import FeedbackError

    store = _store(url)
    number, unsure = deletion.held_of(store, subject)
    typer.echo(f"{number} predictions are stored about this person, with the corrections to them")
    if unsure:
        why = "that an older server cut or damaged: another person's key may have become the same"
        typer.echo(f"{unsure} of these are under a form {why}")
    if dry_run:
        return
    if not yes:
        if not sys.stdin.isatty():
            fix = "add --yes to delete, or --dry-run to look only"
            raise FeedbackError("there is no terminal to ask on", where="forget", fix=fix)
        typer.confirm("Delete them?", abort=True)
    _told(deletion.forget(store, subject, _folders()))


@app.command("expire")
def feedback_expire(
    older_than: Annotated[
        str,
        typer.Option("--older-than", metavar="AGE", help="Age beyond which predictions are deleted: 90d, 12h or 4w."),
    ],
    url: Url = None,
) -> None:
    """Delete predictions older than a given age, and the corrections about them."""
    from flywheel.feedback import deletion

    _told(deletion.expire(_store(url), deletion.duration_of(older_than), _folders()))


@app.command("audit")
def feedback_audit(url: Url = None) -> None:
    """Show every deletion: when, and how much."""
    import json

    from flywheel.feedback.deletion import audit_lines

    for line in audit_lines(_store(url)):
        typer.echo(json.dumps(line))


@app.command("key")
def feedback_key() -> None:
    """Make a key for FLYWHEEL_FEEDBACK_KEY, which encrypts stored inputs."""
    from flywheel.feedback.vault import new_key

    typer.echo(new_key())


RULES = {
    "no_label": "says only that the answer was wrong, or nothing",
    "hash_only": "only the input's hash was kept",
    "invalid_input": "the input cannot be used:",
    "unknown_label": "a label that train does not have",
    "implausible_label": "a number too far from those of train",
    "in_test": "the row is in the test set",
    "in_validation": "the row is in the validation set",
    "superseded": "the same client corrected the same input again later",
    "duplicate": "another row has this input and this label",
    "outvoted": "most clients, or a later one, gave another label",
    "conflict": "clients give the input different labels",
    "client_cap": "one client may not give more rows of a class",
    "class_cap": "feedback may not give more rows of a class",
    "share_cap": "feedback may not have a larger share of train",
}
"""Description of each rule of a pull."""


def _store(url: str | None) -> FeedbackStore:
    from flywheel.feedback.store import FeedbackStore

    return FeedbackStore.of_project(url)


def _folders() -> dict[str, Path]:
    """The folders of pulled rows, by task: also of tasks that are no longer in params.yaml."""
    from flywheel.project.params import project_root

    return {path.name: path for path in (project_root() / "data/feedback").glob("*") if path.is_dir()}


def _told(done: Deleted) -> None:
    typer.echo(f"deleted: {done.predictions} predictions, {done.feedback} words, {done.input_files} input files")
    typer.echo(f"pulled rows removed: {done.pulled_rows}")
    if done.pulled_rows:
        typer.echo("run `dvc repro`; older copies of the rows may be in DVC's cache and remote, and models saw them")

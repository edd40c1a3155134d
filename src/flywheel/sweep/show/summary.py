"""A sweep's parent run, and what it ends with: a table of jobs, best first, and a picture of them.

Where configurations were trained over folds or seeds, there are a table and a picture of their means too, and it is
the means that are compared: the luckiest fold or seed is not a better setting.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from flywheel.project.database import first_line
from flywheel.project.errors import StoreError
from flywheel.project.params import project_root
from flywheel.project.whole import whole_file
from flywheel.sweep.search.folder import RESULT, TRIAL, SweepPlan, read_if_there, trials_in
from flywheel.sweep.show import folds, gallery
from flywheel.sweep.show.advice import advice

if TYPE_CHECKING:
    from flywheel.project.tracked_run import TrackedRun
    from flywheel.sweep.search.study import Study

log = logging.getLogger("flywheel")

_PARENT = "parent.json"
_failed: list[int] = []


@dataclass
class Closing:
    """Results of a sweep that its end needs.

    Attributes:
        study: Optuna's, once it is open.
        exhausted: Whether the sampler has found nothing new to try: then there is nothing to go on with.
    """

    study: Study | None = None
    exhausted: bool = False


def num_failed() -> int:
    """How many trials failed in the sweeps that this process has closed."""
    return sum(_failed)


def open_parent(folder: Path, task: str, overrides: list[str], plan: SweepPlan) -> str:
    """Make the parent run and leave its id in the sweep's folder; a sweep that goes on has its run already.

    Args:
        folder: The sweep's folder; created if it is missing.
        task: Name of the experiment.
        overrides: The whole sweep's, as typed.
        plan: The search space, and the command line.
    """
    from flywheel.project.lineage import git_commit
    from flywheel.project.tracked_run import TrackedRun
    from flywheel.project.tracking import experiment_id, prepare

    client = prepare()
    known = parent_of(folder)
    if known is not None:
        client.update_run(known, status="RUNNING")
        return known
    tags = {"flywheel.task": task, "flywheel.sweep": folder.name, "flywheel.command": plan.command}
    tags |= {"mlflow.source.name": "flywheel.train", "mlflow.source.type": "LOCAL"}
    tags["mlflow.note.content"] = _description(plan)
    tags |= {"mlflow.source.git.commit": commit} if (commit := git_commit(project_root())) else {}
    name = "sweep " + " ".join(word for word in overrides if "=" in word and not word.startswith("task="))
    made = client.create_run(experiment_id(client, task), run_name=name.strip()[:200], tags=tags)
    run = TrackedRun(client, made.info.run_id)
    folder.mkdir(parents=True, exist_ok=True)
    with whole_file(folder / _PARENT) as part:
        part.write_text(json.dumps({"run_id": run.run_id, "command": plan.command}) + "\n")
    run.log_settings({"num_trials": plan.num_planned, **{one.key.lstrip("+"): one.in_words() for one in plan.space}})
    return run.run_id


def _description(plan: SweepPlan) -> str:
    """The parent run's page in Markdown: what was searched for, where, and the command."""
    aims = ", ".join(f"{'largest' if one.mode == 'max' else 'smallest'} {one.name}" for one in plan.objectives)
    lines = [f"- `{one.key}`: {one.in_words()}" for one in plan.space]
    first = f"A sweep of {plan.num_planned} trials for the {aims}, over"
    return "\n".join([first, "", *lines, "", f"    {plan.command}"])


def parent_of(folder: Path) -> str | None:
    """The id of the sweep's parent run; None where none was opened."""
    try:
        return str(json.loads((folder / _PARENT).read_text())["run_id"])
    except FileNotFoundError:
        return None


@contextlib.contextmanager
def closing_parent(folder: Path, plan: SweepPlan) -> Iterator[Closing]:
    """End the parent run with the table and the pictures, also where the sweep is interrupted or breaks."""
    from flywheel.project.tracking import store_errors, store_must_work

    closing = Closing()
    unrecorded: tuple[type[Exception], ...] = (StoreError, *store_errors())
    try:
        yield closing
    except StoreError:  # what cannot be told now is told when the sweep goes on
        _tell_how_to_go_on(plan)
        raise
    except BaseException as error:  # Ctrl+C too: the run is ended and told whatever stops the sweep
        status = "KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED"
        try:
            close_parent(folder, plan, closing, status)
        except unrecorded as second:  # what stopped the sweep must be seen
            log.warning("the end of the sweep could not be recorded in MLflow: %s", first_line(second))
        raise
    with store_must_work():
        close_parent(folder, plan, closing)


def close_parent(folder: Path, plan: SweepPlan, closing: Closing, status: str | None = None) -> None:
    """Print the table of jobs, put it and the pictures into the parent run, and end it.

    Args:
        folder: The sweep's folder.
        plan: Plan of the sweep.
        closing: Results for the end of the run.
        status: Status of the run; None: FINISHED, or FAILED where every job failed.
    """
    from flywheel.project.tracked_run import TrackedRun
    from flywheel.project.tracking import prepare

    parent, jobs, trials = parent_of(folder), read_jobs(folder), trials_in(folder)
    if parent is None:
        return
    run = TrackedRun(prepare(), parent)
    table = as_table(jobs)
    table.to_csv(folder / "jobs.csv", index=False)
    if jobs:
        log.info("\n%s", table.to_string(index=False, na_rep="-"))
    repeated = folds.repeated(jobs)
    if any(one.scores for one in repeated):
        _tell_means(run, repeated, folder)
    elif not repeated:
        _tell_best(run, jobs)
    if closing.study is not None and len(plan.objectives) > 1 and (front := sorted(closing.study.front())):
        log.info("the front, of which none is better in everything: trials %s", ", ".join(map(str, front)))
    files = ["jobs.csv", "folds.csv", "folds.png"]
    if any(not math.isnan(job["score"]) for job in jobs):
        draw(table, folder / "jobs.png", next(iter(_monitors(jobs))))
        files += ["jobs.png", *gallery.draw_all(folder, plan, trials, closing.study)]
    if not repeated:
        for sentence in advice(trials, plan.space, plan.objectives[0]):
            log.info("%s", sentence)
    num_bad = sum("error" in job for job in jobs)
    _failed.append(num_bad)
    run.log_files_named(folder, tuple(files))
    if sum(trial.ended for trial in trials) < plan.num_planned and not closing.exhausted:
        _tell_how_to_go_on(plan)
    run.end(status or ("FAILED" if jobs and num_bad == len(jobs) else "FINISHED"))


def _tell_how_to_go_on(plan: SweepPlan) -> None:
    log.info("go on with:  %s sweep.resume=auto", plan.command)


def _tell_best(run: TrackedRun, jobs: list[dict[str, Any]]) -> None:
    """Name the best job, for people and in the parent run."""
    best = best_job(jobs)
    if best is None:
        return
    words = shlex.join(best["overrides"])
    log.info("best: %s %.4f with  python -m flywheel.train %s", best["monitor"], best["score"], words)
    run.log_metrics({f"best/{best['monitor']}": best["score"], "best/epoch": best["epoch"]})
    run.set_tags({"flywheel.best": words, "flywheel.best_model_sha256": best["model_sha256"]})


def _tell_means(run: TrackedRun, repeated: list[folds.Repeated], folder: Path) -> None:
    """Print the means over folds and seeds, put them and their picture into the parent run, and name the best."""
    frame = folds.as_frame(repeated)
    frame.to_csv(folder / "folds.csv", index=False)
    log.info("\n%s", frame.to_string(index=False, na_rep="-", float_format="{:.4f}".format))
    for sentence in folds.sentences(repeated):
        log.info("%s", sentence)
    best, words = repeated[0], shlex.join(repeated[0].overrides)
    over = f"over {len(best.scores)} jobs"
    log.info("best mean: %s %.4f %s with  python -m flywheel.train %s", best.monitor, best.mean, over, words)
    run.log_metrics(folds.metrics_of(repeated))
    run.set_tags({"flywheel.best": words})
    folds.draw(repeated, folder / "folds.png")


def read_jobs(folder: Path) -> list[dict[str, Any]]:
    """The result of every trial whose job was started, by number; one that left none (it was killed) has failed."""
    jobs = []
    for place in sorted((p for p in folder.iterdir() if p.name.isdigit()), key=lambda p: int(p.name)):
        noted, result = read_if_there(place / TRIAL), read_if_there(place / RESULT)
        if noted is None or (result is None and not noted.get("starts")):
            continue
        result = result or {"score": math.nan, "error": "did not come to its end"}
        others = zip(noted.get("objectives", [])[1:], result.get("values", [])[1:], strict=False)
        more = {name: int(value) if name.startswith("num_") else value for name, value in others}
        jobs.append({**result, "job": noted["number"], "overrides": noted["overrides"], "more": more})
    return jobs


def best_job(jobs: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The job with the best score; None where none came to a good end. Jobs that were stopped early do not count."""
    good = [job for job in jobs if not math.isnan(job["score"]) and not job.get("pruned")]
    if not good:
        return None
    return sorted(good, key=lambda job: job["score"], reverse=good[0]["mode"] == "max")[0]


def as_table(jobs: list[dict[str, Any]]) -> pd.DataFrame:
    """One row a job, best first: a column for each override that differs between jobs, objectives, epoch, error."""
    rows = []
    for number, job in enumerate(jobs):
        settings = dict(word.split("=", 1) for word in job["overrides"])
        row = {"job": job.get("job", number), **settings, job.get("monitor", "score"): job["score"]}
        row |= job.get("more", {})
        row["epoch"] = job.get("epoch")
        row |= {"stopped": "early"} if job.get("pruned") else {}
        rows.append(row | ({"error": job["error"]} if "error" in job else {}))
    table = pd.DataFrame(rows)
    if len(table) > 1:
        same = [c for c in table.columns if "=" not in c and table[c].nunique(dropna=False) == 1]
        table = table.drop(columns=[c for c in same if c not in ("job", "epoch", "stopped", "error", *_monitors(jobs))])
    monitor = next(iter(_monitors(jobs)), "score")
    modes = {job["mode"] for job in jobs if "mode" in job}
    if monitor in table:
        table = table.sort_values(monitor, ascending=modes == {"min"}, na_position="last")
    return table


def _monitors(jobs: list[dict[str, Any]]) -> list[str]:
    return sorted({job["monitor"] for job in jobs if "monitor" in job})


def draw(table: pd.DataFrame, file: Path, monitor: str) -> None:
    """Draw the jobs' scores as dots, best on top."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from flywheel.report.style import shorten

    good = table.dropna(subset=[monitor]).iloc[:30][::-1]
    names = [c for c in good.columns if c not in ("job", "epoch", "stopped", "error", monitor)]
    labels = [
        shorten("  ".join(f"{c.split('.')[-1]}={row[c]}" for c in names if row[c] == row[c]), 56) or f"job {row['job']}"
        for _, row in good.iterrows()
    ]
    figure = Figure(figsize=(8, 0.9 + 0.38 * len(good)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    colours = ["#7d93a8"] * (len(good) - 1) + ["#1f6fb2"]
    # Dots, not bars: scores lie close together, and bars that do not start at zero mislead.
    places = range(len(good))
    axes.scatter(good[monitor], places, c=colours, s=60)
    for place, score in zip(places, good[monitor], strict=True):
        axes.annotate(f"{score:.4f}", (score, place), xytext=(8, 0), textcoords="offset points", va="center")
    low, high = good[monitor].min(), good[monitor].max()
    room = (high - low) or abs(high) or 1.0
    axes.set_xlim(low - 0.1 * room, high + 0.25 * room)
    axes.set_ylim(-0.6, len(good) - 0.4)
    axes.set_yticks(places, labels)
    axes.grid(axis="y", color="#e6eaee")
    axes.set_axisbelow(True)
    axes.set_xlabel(f"validation {monitor}")
    axes.spines[["top", "right", "left"]].set_visible(False)
    figure.savefig(file, dpi=130, metadata={"Software": None})

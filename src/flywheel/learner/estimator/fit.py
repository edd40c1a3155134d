"""One fit of an estimator, from typed settings and processed data to a folder with the model."""

from __future__ import annotations

import itertools
import logging
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torchmetrics import Metric, MetricCollection
from tqdm import tqdm

from flywheel.learner.blocks import mixed_seed
from flywheel.learner.criterion import class_weights, row_losses
from flywheel.learner.data import Part, open_part
from flywheel.learner.estimator.base import Estimator, FitCandidate, FitProblem, Rows
from flywheel.learner.limits import num_rows, tried
from flywheel.learner.machine import Machine, resolve
from flywheel.learner.objective import make_criterion, make_metrics
from flywheel.learner.outcome import Fitted, Row, is_better, write_model
from flywheel.model.network import Network, build_network
from flywheel.project.config import TaskConfig
from flywheel.project.errors import ModelError
from flywheel.project.instantiate import build
from flywheel.project.kind import ESTIMATOR
from flywheel.project.types import Json

if TYPE_CHECKING:
    from flywheel.learner.observers import Observers  # Lightning, which takes a second to import

log = logging.getLogger("flywheel")

SHOWN_EVERY = 10


def fit(
    task: TaskConfig,
    processed: Path,
    meta: Json,
    target: Path,
    checkpoint: Path,
    *,
    on_start: Callable[[Machine], None],
    on_row: Callable[[Row], None],
    watch: Callable[[int, float], bool] | None = None,
    observers: Observers | None = None,
) -> Fitted:
    """Find a net's parameters, and write `model.safetensors`, `model.json` and `history.csv`.

    Arguments and errors are those of `flywheel.learner.fit.fit`; of the observers, the loggers are told each row. An
    epoch is a candidate of the estimator. After a kill the fit begins anew and comes to the same bits; the checkpoint
    only says that the run is the same.
    """
    is_trial, task = bool(task.trainer.fast_dev_run), tried(task)
    torch.manual_seed(mixed_seed(task.seed, -1))
    network = build_network(task.model.net, meta, where="model.net")
    estimator: Estimator = build(task.model.fit or {}, ESTIMATOR, where="model.fit", meta=meta)
    machine = resolve(replace(task.trainer, accelerator="cpu", devices=1, hold="memory"), {}, 0)
    torch.set_num_threads(machine.num_threads)
    measure = _Measure(make_criterion(task.loss, meta), make_metrics(task, meta))
    limits = {"train": "limit_train_batches", "validation": "limit_val_batches"}
    train, validation = (
        _rows(processed / f"{name}.safetensors", network, task, limit, measure) for name, limit in limits.items()
    )
    problem = FitProblem(network.net, train, validation, task.loss, task.seed, machine.num_threads)
    on_start(machine)

    loggers = observers.loggers if observers else []

    def tell(row: Row) -> None:
        on_row(row)
        for logger in loggers:
            logger.log_metrics({name: value for name, value in row.items() if name != "step"}, step=int(row["step"]))

    best = _choose(task, estimator, problem, measure, checkpoint, tell, watch)
    for logger in loggers:
        logger.finalize("success")
    kept = _refitted(estimator, problem, best) if task.trainer.refit and not is_trial else best.candidate
    network.net.load_state_dict(kept.state())
    more: Json = {"fit": task.model.fit, **({"fast_dev_run": True} if is_trial else {})}
    return write_model(task, meta, network, None, best.rows, best.epoch, machine, target, more)


@dataclass
class _Best:
    """The candidate that is kept, its epoch, and the rows of all."""

    candidate: FitCandidate
    epoch: int
    rows: list[Row]


class _Measure:
    """Loss and metrics of logits, as a training by gradient logs them."""

    def __init__(self, criterion: nn.Module, metrics: dict[str, Metric]) -> None:
        self.criterion = criterion
        self._metrics = MetricCollection(dict(metrics))

    def __call__(self, split: str, logits: Tensor, rows: Rows) -> Row:
        """The figures of one split, by their names in the history."""
        if rows.row_weight is None:
            loss = self.criterion(logits, rows.target)
        else:
            by_class = class_weights(self.criterion, rows.target)
            weight = rows.row_weight
            whole = weight.sum() if by_class is None else torch.dot(weight, by_class)
            loss = torch.dot(row_losses(self.criterion, logits, rows.target), weight) / whole
        self._metrics.reset()
        self._metrics.update(logits, rows.target)
        found = {"loss": loss, **self._metrics.compute()}
        return {f"{split}/{name}": float(value) for name, value in found.items()}


def _choose(
    task: TaskConfig,
    estimator: Estimator,
    problem: FitProblem,
    measure: _Measure,
    checkpoint: Path,
    on_row: Callable[[Row], None],
    watch: Callable[[int, float], bool] | None,
) -> _Best:
    """Measure one candidate after the other until there are no more, or the later ones are no better."""
    monitor, patience, shows = task.metric.monitor, estimator.patience, watch is None
    best: tuple[FitCandidate, int, float] | None = None
    rows: list[Row] = []
    bar = tqdm(total=estimator.num_candidates, leave=False, disable=not (shows and sys.stderr.isatty()))
    with bar:
        for epoch, candidate in enumerate(estimator.fit(problem), start=1):
            figures = {**measure("train", candidate.train, problem.train),
                       **measure("validation", candidate.validation, problem.validation)}  # fmt: skip
            row: Row = {"epoch": epoch, "step": candidate.step, **candidate.figures, **dict(sorted(figures.items()))}
            rows.append(row)
            score = row[f"validation/{monitor.name}"]
            if best is None or is_better(score, best[2], monitor.mode) or task.trainer.keep == "last":
                best = (candidate, epoch, score)
            if epoch == 1:
                torch.save({"epoch": 1}, checkpoint)
            on_row(row)
            bar.update()
            if shows and (epoch == 1 or epoch % SHOWN_EVERY == 0):
                _show(row, monitor.name)
            if (patience and epoch - best[1] >= patience) or (watch is not None and watch(epoch - 1, score)):
                break
    if best is None or not math.isfinite(rows[best[1] - 1]["train/loss"]):
        raise ModelError("no parameters with a finite loss were found", where="model.fit", fix="look at its settings")
    if shows:
        named = "".join(f", {name} {value:.3g}" for name, value in best[0].figures.items())
        log.info("kept step %d%s", best[0].step, named)
        _show(rows[best[1] - 1], monitor.name)
    return _Best(best[0], best[1], rows)


def _refitted(estimator: Estimator, problem: FitProblem, best: _Best) -> FitCandidate:
    """The candidate of the same place, fitted on train and validation together; the last, where there are fewer."""
    log.info("fitting %s train and validation rows together, as far as step %d",
             f"{len(problem.train.target) + len(problem.validation.target):,}", best.candidate.step)  # fmt: skip
    both = replace(problem, train=problem.train.joined(problem.validation))
    *_, found = itertools.islice(estimator.fit(both), best.epoch)
    return found


def _show(row: Row, monitor: str) -> None:
    text = f"step {row['step']:.0f}  train/loss {row['train/loss']:.4f}  validation/loss {row['validation/loss']:.4f}"
    log.info(text if monitor == "loss" else f"{text}  {monitor} {row[f'validation/{monitor}']:.4f}")


def _rows(file: Path, network: Network, task: TaskConfig, limit: str, measure: _Measure) -> Rows:
    """A split in memory, with its rows' weights; under a limit its first rows, which preprocess has shuffled."""
    part: Part = open_part(file, network.input_names, stream=False, weighted=True)
    found = part.gather(torch.arange(num_rows(task.trainer, limit, part.num_rows)))
    target, row_weight = found.pop("target"), found.pop("weight", None)
    by_class = class_weights(measure.criterion, target)
    factors = [one.double().numpy() for one in (row_weight, by_class) if one is not None]
    weight = np.prod(factors, axis=0) if factors else None
    return Rows(network.scale(found), target, weight, row_weight)

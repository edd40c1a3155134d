"""The loss and the metrics of a training, made of its settings."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torchmetrics import Metric

from flywheel.learner.criterion import must_weigh_rows
from flywheel.project.config import LossConfig, TaskConfig
from flywheel.project.instantiate import build
from flywheel.project.kind import CRITERION, METRIC
from flywheel.project.types import Json

CLASS_WEIGHTS = {"balanced": 1.0, "sqrt": 0.5}
"""The power of the inverse class frequency that a class weighs."""


def make_metrics(task: TaskConfig, meta: Json) -> dict[str, Metric]:
    """The metrics of `metric.train`, by name."""
    return {
        name: build(node, METRIC, where=f"metric.train.{name}", meta=meta) for name, node in task.metric.train.items()
    }


def make_criterion(loss: LossConfig, meta: Json) -> nn.Module:
    """The loss of logits and targets.

    Raises:
        ConfigError: An argument is wrong, or it gives no loss for each row where `meta` says that rows have weights.
    """
    given: dict[str, Any] = {}
    if loss.class_weights != "none":
        counts = torch.tensor(meta["class_counts"], dtype=torch.float32)
        given["weight"] = (counts.sum() / (len(counts) * counts)) ** CLASS_WEIGHTS[loss.class_weights]
    made: nn.Module = build(loss.criterion, CRITERION, where="loss.criterion", meta=meta, **given)
    if meta.get("weighted"):
        must_weigh_rows(made)
    return made

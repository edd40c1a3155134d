"""What a training ends with, and how it is written: the model, its history, and whether a checkpoint can be resumed."""

from __future__ import annotations

import csv
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from flywheel.learner.machine import Machine
from flywheel.model.network import HISTORY, Network, save_network
from flywheel.project.config import TaskConfig
from flywheel.project.types import Json

log = logging.getLogger("flywheel")

Row = dict[str, float]


def is_better(score: float, than: float, mode: str) -> bool:
    """Whether a score of the monitored metric is better than another, as `metric.monitor.mode` has it."""
    return score > than if mode == "max" else score < than


@dataclass(frozen=True)
class Fitted:
    """What a training came to.

    Attributes:
        score: The monitored validation metric of the epoch that was kept.
        epoch: That epoch, from 1.
        rows: One row of figures an epoch.
        model_sha256: Of the written `model.safetensors`.
        machine: What `auto` became.
    """

    score: float
    epoch: int
    rows: list[Row]
    model_sha256: str
    machine: Machine


def write_model(
    task: TaskConfig,
    meta: Json,
    network: Network,
    weights: Mapping[str, Tensor] | None,
    rows: list[Row],
    epoch: int,
    machine: Machine,
    target: Path,
    more: Json,
) -> Fitted:
    """Write `model.safetensors`, `model.json` and `history.csv`.

    Args:
        task: The settings.
        meta: The content of `meta.json`.
        network: The trained network.
        weights: The state to write; None: the one that the network has.
        rows: The history, a row an epoch.
        epoch: The epoch that the weights are of.
        machine: What `auto` became.
        target: An empty folder.
        more: What `model.json` says of some models only.
    """
    description: Json = {
        "task": task.name, "net": task.model.net, "link": task.loss.link, "meta": meta, "best_epoch": epoch,
        "trained_on": machine.described(), **more,
    }  # fmt: skip
    sha256 = save_network(target, network, description, weights)
    with (target / HISTORY).open("w", newline="") as stream:
        writer = csv.DictWriter(stream, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    score = next(row for row in rows if row["epoch"] == epoch)[f"validation/{task.metric.monitor.name}"]
    return Fitted(score, epoch, rows, sha256, machine)


def is_resumable(checkpoint: Path) -> bool:
    """Whether a checkpoint can be read; a damaged one is removed, and training starts afresh."""
    if not checkpoint.is_file():
        return False
    try:
        torch.load(checkpoint, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError) as error:
        log.warning("checkpoint %s is damaged (%s); starting afresh", checkpoint, str(error).splitlines()[0])
        checkpoint.unlink()
        return False
    return True

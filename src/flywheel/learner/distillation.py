"""Distillation: a student is trained on its teacher's softened answers beside the labels."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from flywheel.model.network import LoadedNetwork, load_network
from flywheel.project.config import DistilConfig, TaskConfig
from flywheel.project.errors import ModelError
from flywheel.project.params import project_root
from flywheel.project.types import Json


class Distillation:
    """The teacher's part of the training loss (Hinton et al. 2015, arXiv:1503.02531).

    Classes: the Kullback-Leibler divergence of the student's answer from the teacher's, both softened by the
    temperature, times its square, so that its gradients keep their size. Numbers: the squared difference.
    No module, so that the teacher's weights are in no checkpoint, and nothing puts it into training mode.

    Args:
        teacher: The teacher, in eval mode; it gets the same inputs as the student, augmentation included.
        settings: The share of the teacher, and the temperature.
    """

    def __init__(self, teacher: LoadedNetwork, settings: DistilConfig) -> None:
        self.model_sha256 = teacher.model_sha256
        self._net: nn.Module = teacher.network.net
        self._settings = settings

    @torch.no_grad()
    def teach(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Give the teacher's logits for scaled inputs."""
        device = next(iter(inputs.values())).device
        logits: Tensor = self._net.to(device)(**inputs)
        return logits

    def blend(self, loss: Tensor, logits: Tensor, inputs: Mapping[str, Tensor], weight: Tensor | None = None) -> Tensor:
        """Give the loss with the labels and the teacher's part, by `alpha`.

        Args:
            loss: The student's loss on the labels.
            logits: Logits of the student.
            inputs: Scaled inputs that produced them.
            weight: Weight of each row, [B]; None: all equal.
        """
        alpha = self._settings.alpha
        return (1 - alpha) * loss + alpha * self.distance(logits, self.teach(inputs), weight)

    def distance(self, logits: Tensor, wanted: Tensor, weight: Tensor | None = None) -> Tensor:
        """The mean over rows of how far a student's logits are from the teacher's; both [B] or [B, C].

        Where rows have weights, [B], it is the mean by these.
        """
        if self._settings.answer == "numbers":
            if weight is None:
                return functional.mse_loss(logits, wanted)
            return _weighted(
                functional.mse_loss(logits, wanted, reduction="none").reshape(len(logits), -1).mean(1), weight
            )
        heat = self._settings.temperature
        if logits.ndim == 1:
            # One truth value is two classes, whose logits are 0 and it.
            logits, wanted = (torch.stack([torch.zeros_like(x), x], dim=-1) for x in (logits, wanted))
        own, soft = (torch.log_softmax(x / heat, dim=-1) for x in (logits, wanted))
        if weight is None:
            return functional.kl_div(own, soft, reduction="batchmean", log_target=True) * heat**2
        return _weighted(functional.kl_div(own, soft, reduction="none", log_target=True).sum(dim=-1), weight) * heat**2


def _weighted(each: Tensor, weight: Tensor) -> Tensor:
    return torch.dot(each, weight.to(each.dtype)) / weight.to(each.dtype).sum()


def parent_folder(task: TaskConfig) -> Path | None:
    """The model folder of the task that this one learns from; None where it learns from none."""
    learns = task.loss.distil.alpha > 0 or task.trainer.prune.method == "structured"
    return project_root() / task.trainer.parent if learns else None


def load_parent(task: TaskConfig, meta: Json) -> LoadedNetwork | None:
    """Load what the task learns from; None where it learns from none.

    Args:
        task: The task's settings.
        meta: `meta.json` of this task's data.

    Raises:
        ModelError: There is no such model, or it was trained on other inputs or classes.
    """
    folder = parent_folder(task)
    if folder is None:
        return None
    if not folder.is_dir():
        fix = "set it to artifacts/<task>/model of a task that is built"
        raise ModelError(f"no trained model in {task.trainer.parent}", where="trainer.parent", fix=fix)
    parent = load_network(folder)
    for key in ("inputs", "target", "classes", "items"):
        if parent.meta.get(key) != meta.get(key):
            fix = "give both tasks the same data and preprocess settings"
            raise ModelError(
                f"{task.trainer.parent} was trained on data with other {key}", where="trainer.parent", fix=fix
            )
    return parent

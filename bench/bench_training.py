"""Training steps per second: Flywheel's learner against hand-written PyTorch and Lightning's own loops.

All run the same network (784-64-64-10, ReLU), fused Adam, batch size, threads and data (Fashion-MNIST-shaped random
pictures, held in memory, shuffled each epoch); interleaved, medians over the repeats. Run: python -m bench training
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset
from torchmetrics.classification import MulticlassAccuracy, MulticlassF1Score

from bench.record import Table
from flywheel.learner.augmentation.none import NoAugmentation
from flywheel.learner.blocks import Blocks
from flywheel.learner.data import Part
from flywheel.learner.machine import resolve
from flywheel.learner.module import Learner
from flywheel.learner.settings import quiet
from flywheel.model.mlp import MLP
from flywheel.model.network import Network
from flywheel.project.config import LossConfig, TrainerConfig

ROWS, REPEATS, WARM_UP_STEPS = 24_000, 7, 30
MEAN, STD = 72.9, 90.0


def make_net() -> MLP:
    """Make the reference network with the same first weights each time."""
    torch.manual_seed(0)
    return MLP(784, 10)


def hand_written(images: Tensor, target: Tensor, batch_size: int) -> float:
    """A plain loop over float tensors, as a careful person would write it. Returns steps per second."""
    net, criterion = make_net(), nn.CrossEntropyLoss()
    x = (images.float() - MEAN) / STD
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3, fused=True)
    total = torch.zeros(())
    started, steps = 0.0, 0
    for step, index in enumerate(torch.split(torch.randperm(len(x)), batch_size)):
        if step == WARM_UP_STEPS:
            started = time.perf_counter()
        loss = criterion(net(image=x[index]), target[index])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        total += loss.detach()
        steps = step + 1
    return (steps - WARM_UP_STEPS) / (time.perf_counter() - started)


class Clock(pl.Callback):
    """Measures steps per second between the end of the first call and the end of the last, without validation."""

    def __init__(self) -> None:
        self.started = self.steps_at_start = 0.0
        self.rate = 0.0
        self.steps = 0

    def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Read the clock."""
        self.steps += len(batch.target) // batch.batch_size if hasattr(batch, "batch_size") else 1
        if self.started == 0.0 and self.steps >= WARM_UP_STEPS:
            self.started, self.steps_at_start = time.perf_counter(), self.steps
        elif self.started:
            self.rate = (self.steps - self.steps_at_start) / (time.perf_counter() - self.started)


def fit(module: pl.LightningModule, loader: Any) -> float:
    """Train one epoch under Lightning. Returns steps per second."""
    clock = Clock()
    pl.Trainer(
        accelerator="cpu",
        max_epochs=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[clock],
        use_distributed_sampler=False,
    ).fit(module, loader)
    return clock.rate


def flywheel(images: Tensor, target: Tensor, batch_size: int) -> float:
    """Flywheel's learner with everything a real task has: metrics, scaling inside the network, the block loader."""
    network = Network(make_net(), {"image": {"shape": [1, 28, 28], "mean": [MEAN], "std": [STD]}})
    example = {"image": images[:batch_size]}
    machine = resolve(TrainerConfig(batch_size=batch_size, accelerator="cpu"), network, example, images.numel())
    metrics = {
        "accuracy": MulticlassAccuracy(10, average="micro", validate_args=False),
        "f1_macro": MulticlassF1Score(10, average="macro", validate_args=False),
    }
    learner = Learner(
        network=network,
        criterion=nn.CrossEntropyLoss(),
        loss=LossConfig(criterion={}, link={}),
        make_optimizer=lambda parameters: torch.optim.Adam(parameters, lr=1e-3, fused=True),
        make_scheduler=lambda optimizer: None,
        metrics=metrics,
        augmentation=NoAugmentation(),
        seed=0,
    )
    return fit(learner, Blocks(Part({"image": images, "target": target}), batch_size, machine.steps_per_call, seed=0))


class Plain(pl.LightningModule):
    """The usual LightningModule: automatic optimisation, one call a batch, no metrics."""

    def __init__(self) -> None:
        super().__init__()
        self.net, self.criterion = make_net(), nn.CrossEntropyLoss()

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Return the loss of a batch."""
        x, y = batch
        loss: Tensor = self.criterion(self.net(image=x), y)
        return loss

    def configure_optimizers(self) -> Any:
        """Make the same optimizer."""
        return torch.optim.Adam(self.parameters(), lr=1e-3, fused=True)


def lightning(images: Tensor, target: Tensor, batch_size: int) -> float:
    """Lightning's default loop over a DataLoader."""
    data = TensorDataset((images.float() - MEAN) / STD, target)
    return fit(Plain(), DataLoader(data, batch_size=batch_size, shuffle=True))


def main() -> Table:
    """Measure and return the table."""
    quiet()
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (ROWS, 1, 28, 28), generator=generator, dtype=torch.uint8)
    target = torch.randint(0, 10, (ROWS,), generator=generator)
    ways: dict[str, Callable[[Tensor, Tensor, int], float]] = {
        "hand-written PyTorch": hand_written,
        "Flywheel": flywheel,
        "Lightning, default loop": lightning,
    }
    table = Table(
        "training", "Training steps per second, 784-64-64-10, 1 thread", ["loop", "batch", "steps/s", "ratio"]
    )
    for batch_size in (32, 256):
        rates: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(REPEATS):
            for name, way in ways.items():
                rates[name].append(way(images, target, batch_size))
        ratios = {n: [a / b for a, b in zip(r, rates["hand-written PyTorch"], strict=True)] for n, r in rates.items()}
        for name in ways:
            rate, ratio = statistics.median(rates[name]), statistics.median(ratios[name])
            table.add([name, batch_size, f"{rate:.0f}", f"{ratio:.2f}"])
    return table

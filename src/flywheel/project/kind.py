"""What each place of the configuration takes: the type of its objects, and the modules that they come from.

`config` says of each `_target_` node which of these it is, and `instantiate` builds nothing else.
"""

from __future__ import annotations

import fnmatch
import importlib
import inspect
import sys
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Kind:
    """What one place of the configuration takes.

    Attributes:
        base: The class that everything here is a subclass of, by its full name, so that nothing is imported early.
        homes: Modules and packages whose classes are taken; a class belongs to the module that defines it.
        functions: Functions that are taken besides, by full name.
        parts: Kinds that may stand in an argument.
        nests: Whether its own kind may.
        lists: Tuples of functions that modules hold themselves, by full name; `*` stands for any part of it.
    """

    base: str
    homes: tuple[str, ...]
    functions: tuple[str, ...] = ()
    parts: tuple[Kind, ...] = ()
    nests: bool = False
    lists: tuple[str, ...] = ()

    @property
    def described(self) -> str:
        """What may be named here, for messages."""
        functions = f", or {', '.join([*self.functions, *self.lists])}" if self.functions else ""
        return f"a subclass of {self.base} in {', '.join(self.homes)}{functions}"

    @property
    def inner(self) -> tuple[Kind, ...]:
        """The kinds that may stand in an argument."""
        return (self, *self.parts) if self.nests else self.parts

    def takes(self, found: Any) -> bool:
        """Whether an object found in a module may be built here."""
        if inspect.isfunction(found):
            return name_of(found) in self.functions or any(_is_listed(found, name) for name in self.lists)
        if not isinstance(found, type) or not any(is_in(found.__module__, home) for home in self.homes):
            return False
        module, _, name = self.base.rpartition(".")
        return issubclass(found, getattr(importlib.import_module(module), name))


READER = Kind("flywheel.project.types.Reader", ("flywheel.reader", "flywheel.modality"))
TOKENISER = Kind("flywheel.preprocessor.tokeniser.Tokeniser", ("flywheel.modality",))
PREPROCESSOR = Kind(
    "flywheel.preprocessor.base.Preprocessor",
    ("flywheel.preprocessor", "flywheel.modality"),
    (),
    (TOKENISER,),
    nests=True,
)
TARGET = Kind("flywheel.preprocessor.target.Target", ("flywheel.preprocessor", "flywheel.modality"))
# torch.nn.modules and no more of torch.nn: its other packages launch processes, load libraries and hold functions.
NET = Kind("torch.nn.Module", ("flywheel.model", "torch.nn.modules"), nests=True)
LINK = Kind("torch.nn.Module", ("flywheel.model.link", "torch.nn.modules.activation", "torch.nn.modules.linear"))
ESTIMATOR = Kind("flywheel.learner.estimator.base.Estimator", ("flywheel.learner.estimator",))
CRITERION = Kind("torch.nn.Module", ("flywheel.learner.criterion", "flywheel.learner.bpr", "torch.nn.modules.loss"))
AUGMENTATION = Kind("torch.nn.Module", ("flywheel.learner.augmentation", "flywheel.modality"))
OPTIMIZER = Kind("torch.optim.Optimizer", ("torch.optim",))
SCHEDULER = Kind(
    "torch.optim.lr_scheduler.LRScheduler",
    ("torch.optim.lr_scheduler",),
    tuple(f"flywheel.learner.scheduler.{name}" for name in ("constant", "cosine", "one_cycle", "plateau")),
)
# Of torchmetrics only what compares scores with targets: others download models, or load them by name.
METRIC = Kind(
    "torchmetrics.Metric",
    ("flywheel.learner.metric", "torchmetrics.classification", "torchmetrics.regression"),
)
REPORT = Kind("flywheel.report.base.Report", ("flywheel.report", "flywheel.modality"))
BASELINE = Kind(
    "flywheel.report.baseline.Baseline",
    ("flywheel.report", "flywheel.modality"),
    ("flywheel.report.baseline.logistic_regression",),
    lists=("flywheel.modality.*.baseline.BASELINES",),
)
# Of Lightning's callbacks and loggers only those that watch and keep records, one module a class: others load
# checkpoints, call what they are given, or send to servers.
CALLBACK = Kind(
    "pytorch_lightning.callbacks.Callback",
    (
        "pytorch_lightning.callbacks.device_stats_monitor",
        "pytorch_lightning.callbacks.lr_monitor",
        "pytorch_lightning.callbacks.model_summary",
        "pytorch_lightning.callbacks.progress.rich_progress",
        "pytorch_lightning.callbacks.progress.tqdm_progress",
        "pytorch_lightning.callbacks.rich_model_summary",
        "pytorch_lightning.callbacks.timer",
    ),
)
LOGGER = Kind(
    "pytorch_lightning.loggers.Logger",
    ("pytorch_lightning.loggers.csv_logs", "pytorch_lightning.loggers.tensorboard"),
)
VARIANT = Kind("flywheel.registry.variant.base.Maker", ("flywheel.registry.variant",))

KINDS = (
    READER, TOKENISER, PREPROCESSOR, TARGET, NET, ESTIMATOR, LINK, CRITERION, AUGMENTATION, OPTIMIZER, SCHEDULER,
    METRIC, REPORT, BASELINE, VARIANT, CALLBACK, LOGGER,
)  # fmt: skip


def _is_listed(found: Any, name: str) -> bool:
    """Whether the module that defines a function has such a tuple, and the function is in it."""
    module, _, attribute = name.rpartition(".")
    return fnmatch.fnmatchcase(found.__module__, module) and found in getattr(
        sys.modules[found.__module__], attribute, ()
    )


def name_of(found: Any) -> str:
    """The full name of a class or function, by the module that defines it."""
    return f"{found.__module__}.{found.__qualname__}"


def is_in(module: str, package: str) -> bool:
    """Whether a module is a package, or lies in it."""
    return f"{module}.".startswith(f"{package}.")

"""What Lightning's Trainer takes and a training here does not: why it does not work, and what to use instead.

The messages about such words and the table of docs/from-other-tools.md are made from this. Most follow from two facts:
Lightning's loop is called for a block of optimiser steps, and each process has one device (see `flywheel.learner`).
"""

from __future__ import annotations

from typing import Any, NamedTuple

from flywheel.project.errors import ConfigError


class Instead(NamedTuple):
    """A word that does not work.

    Attributes:
        why: Why it does not; goes on after "because it".
        use: What to use instead, as an imperative.
    """

    why: str
    use: str


_LAUNCHER = Instead("starts the ranks by running the command again, which DVC and Hydra do not survive", "use ddp")
_NO_LOWER_BOUND = Instead("only holds back early stopping", "raise trainer.early_stopping.patience")
_OTHER_DEVICE = Instead("is a device that nothing here has been tried on", "use cpu, cuda or mps")

ARGUMENTS: dict[str, Instead] = {
    "_target_": Instead("would name another Trainer, and there is one", "leave it out"),
    "barebones": Instead("would turn off checkpoints and tracking", "save overhead with trainer.steps_per_call"),
    "benchmark": Instead("picks kernels by the clock, so that two runs would differ", "leave it out"),
    "callbacks": Instead("is a group of its own", "write callbacks=lr_monitor, or another of conf/callbacks/"),
    "check_val_every_n_epoch": Instead(
        "would leave epochs without a score, and any of them may be the best",
        "make validation shorter with trainer.limit_val_batches",
    ),
    "default_root_dir": Instead("is fixed: checkpoints lie in .flywheel/, models in artifacts/", "leave it out"),
    "detect_anomaly": Instead(
        "slows every operation down, and a loss that is no longer finite ends a training anyway",
        "lower optimizer.lr or set trainer.gradient_clip_norm",
    ),
    "deterministic": Instead("is always on: on a CPU the same settings give the same bytes", "leave it out"),
    "enable_autolog_hparams": Instead("is always on: each setting is a parameter of the MLflow run", "leave it out"),
    "enable_checkpointing": Instead(
        "is always on: a killed training goes on from the checkpoint of its last epoch, which is deleted at the end",
        "choose the epoch whose weights are kept with trainer.keep",
    ),
    "enable_model_summary": Instead("is a callback here", "write callbacks=model_summary"),
    "enable_progress_bar": Instead(
        "depends on where the training runs: a terminal gets a bar, anything else a line an epoch",
        "leave it out, or write callbacks=rich_progress_bar",
    ),
    "gpus": Instead("is an older name for devices", "use trainer.devices with trainer.accelerator=cuda"),
    "gradient_clip_algorithm": Instead("is always the norm", "use trainer.gradient_clip_norm"),
    "gradient_clip_val": Instead("has another name here", "use trainer.gradient_clip_norm"),
    "inference_mode": Instead("is decided by the strategy", "leave it out"),
    "limit_predict_batches": Instead("concerns no training", "give `flywheel predict` a smaller file"),
    "limit_test_batches": Instead("concerns no training: the stage evaluate scores all of test", "leave it out"),
    "log_every_n_steps": Instead(
        "does not apply to means over an epoch, and callbacks are called once a block",
        "set trainer.steps_per_call, the number of steps in a block",
    ),
    "logger": Instead("is a group of its own, beside MLflow", "write logger=tensorboard, or another of conf/logger/"),
    "max_steps": Instead(
        "would end a training within an epoch, but scores and checkpoints are of whole epochs",
        "use trainer.max_epochs with trainer.limit_train_batches",
    ),
    "max_time": Instead("would make the result depend on the clock", "write callbacks=timer, outside the pipeline"),
    "min_epochs": _NO_LOWER_BOUND,
    "min_steps": _NO_LOWER_BOUND,
    "model_registry": Instead("is MLflow's, and the stage register writes to it", "run `dvc repro register@TASK`"),
    "num_nodes": Instead("is decided by torchrun or Slurm", "write trainer=multi_node, and start it by one of them"),
    "num_sanity_val_steps": Instead("is not needed: settings are checked first", "try all with trainer.fast_dev_run"),
    "overfit_batches": Instead(
        "would train on the same rows in each epoch, and every epoch draws its rows anew",
        "use trainer.limit_train_batches",
    ),
    "plugins": Instead("names code to run", "use trainer.precision and trainer.strategy"),
    "reload_dataloaders_every_n_epochs": Instead("is not needed: every epoch draws its rows anew", "leave it out"),
    "resume_from_checkpoint": Instead("is not needed: a killed training goes on by itself", "run the command again"),
    "sync_batchnorm": Instead("is always on: several devices normalise their whole batch", "leave it out"),
    "use_distributed_sampler": Instead("is not needed: the devices share every batch", "leave it out"),
    "val_check_interval": Instead(
        "would validate within an epoch, but scores and checkpoints are of whole epochs",
        "make epochs shorter with trainer.limit_train_batches",
    ),
}
"""Arguments of Lightning's Trainer that are no settings of `trainer`."""

LIST = "[...]"
VALUES: dict[str, dict[str, Instead]] = {
    "accelerator": {"hpu": _OTHER_DEVICE, "tpu": _OTHER_DEVICE},
    "devices": {
        "-1": Instead("is a word here", "use all"),
        LIST: Instead("is a number here", "choose devices with CUDA_VISIBLE_DEVICES"),
    },
    "max_epochs": {"-1": Instead("never ends, and most schedules must know when", "use trainer=early_stopping")},
    "precision": {
        "16": Instead("is an older name for 16-mixed", "use bf16-mixed"),
        "16-mixed": Instead("scales losses, which the steps of a block do not", "use bf16-mixed"),
        "16-true": Instead("loses small gradients", "use bf16-true, or export=half for a smaller model"),
        "32": Instead("is an older name", "use 32-true"),
        "64": Instead("is an older name", "use 64-true"),
        "bf16": Instead("is an older name", "use bf16-mixed"),
        "transformer-engine": Instead("replaces layers of the network", "use bf16-mixed"),
    },
    "strategy": {
        "ddp_find_unused_parameters_true": Instead("allows parameters without a gradient", "use ddp"),
        "ddp_fork": _LAUNCHER,
        "ddp_notebook": _LAUNCHER,
        "ddp_spawn": _LAUNCHER,
        "deepspeed": Instead("makes the optimiser steps itself, and a block makes several", "use fsdp"),
        "dp": Instead("is no longer in Lightning", "use ddp"),
    },
}
"""Values that Lightning takes for an argument which is a setting of `trainer`, too; `[...]` is any list."""


def refuse(key: str, value: Any, where: str) -> None:
    """Refuse an argument of Lightning's Trainer that is no setting here, and a value that a setting does not have.

    Args:
        key: What stands in `trainer`.
        value: Its value.
        where: The dotted key of that section, for messages.

    Raises:
        ConfigError: It is such a word, and the message says what to use instead.
    """
    word = LIST if isinstance(value, list) else str(value)
    family = "deepspeed" if word.startswith("deepspeed") else word  # deepspeed_stage_2, ...
    if found := ARGUMENTS.get(key):
        what = "Lightning's argument does not work here"
    elif found := VALUES.get(key, {}).get(family):
        what = f"'{value}' does not work here"
    else:
        return
    raise ConfigError(f"{what}, because it {found.why}", where=f"{where}.{key}", fix=found.use)

"""Arguments of Lightning's Trainer: each is a setting, or one line says what to use instead."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl

from flywheel.project.compose import compose_task
from flywheel.project.config import TrainerConfig
from flywheel.project.errors import ConfigError
from flywheel.project.lightning_words import ARGUMENTS, VALUES
from flywheel.project.settings import settings_from

OURS = {one.name for one in fields(TrainerConfig)}


def test_every_argument_of_the_trainer_is_a_setting_or_has_a_reason() -> None:
    taken = set(inspect.signature(pl.Trainer.__init__).parameters) - {"self"}
    assert taken <= OURS | set(ARGUMENTS)
    assert not OURS & set(ARGUMENTS)
    assert set(VALUES) <= OURS & taken


def test_an_argument_that_does_not_work_is_one_line() -> None:
    for key, instead in ARGUMENTS.items():
        with pytest.raises(ConfigError) as error:
            settings_from(TrainerConfig, {key: 1}, "trainer")
        line = f"trainer.{key}: Lightning's argument does not work here, because it {instead.why}; {instead.use}"
        assert str(error.value) == line


@pytest.mark.parametrize("word", ["trainer.callbacks.x=1", "+trainer.callbacks=[x]"])
def test_it_is_the_same_line_whether_hydra_or_the_schema_finds_it(root: Path, word: str) -> None:
    with pytest.raises(ConfigError, match=r"^trainer\.callbacks: Lightning's argument does not work here"):
        compose_task(root, ["task=digits", word])


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        (
            "strategy",
            "deepspeed_stage_2",
            "'deepspeed_stage_2' does not work here, because it makes the optimiser steps",
        ),
        ("strategy", "ddp_spawn", "'ddp_spawn' does not work here, because it starts the ranks by running"),
        ("precision", "16-mixed", "'16-mixed' does not work here, because it scales losses"),
        ("precision", 16, "'16' does not work here, because it is an older name for 16-mixed; use bf16-mixed"),
        ("devices", -1, "'-1' does not work here, because it is a word here; use all"),
        ("devices", [0, 1], "'[0, 1]' does not work here, because it is a number here; choose devices with CUDA_"),
        ("max_epochs", -1, "'-1' does not work here, because it never ends"),
        ("strategy", "ddq", "'ddq' is not known; did you mean 'ddp'?"),
    ],
)
def test_a_value_that_does_not_work_is_one_line(key: str, value: Any, said: str) -> None:
    with pytest.raises(ConfigError) as error:
        settings_from(TrainerConfig, {key: value}, "trainer")
    assert str(error.value).startswith(f"trainer.{key}: {said}")


def test_it_is_said_before_anything_starts(run_flywheel: Callable[..., Any]) -> None:
    done = run_flywheel("train", "task=digits", "trainer.val_check_interval=0.5")
    assert done.returncode == 2
    assert done.stderr.startswith(
        "flywheel: error: trainer.val_check_interval: Lightning's argument does not work here"
    )
    assert len(done.stderr.splitlines()) == 1

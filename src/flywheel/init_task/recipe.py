"""Which option of each group of `conf/` a guess leads to, and the settings in which it differs from them."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from pathlib import Path

from flywheel.init_task.guess import CLASS, ITEM, NUMBER, Guess, Node, Recipe
from flywheel.project.companion import modules_of
from flywheel.project.errors import DataError


@dataclass(frozen=True)
class Goal:
    """Options for one kind of target: how it is learnt, measured and judged.

    Attributes:
        loss: Option of the group `loss`.
        metric: Option of the group `metric`.
        register: Option of the group `register`.
        noise: Half of the interval of a difference between two equal models, times the root of the test rows; for a
            number in deviations of the target.
        largest_margin: Upper limit of the margin, in the same unit.
    """

    loss: str
    metric: str
    register: str
    noise: float
    largest_margin: float


GOALS = {
    CLASS: Goal("cross_entropy", "classification", "accuracy", 0.63, 0.03),
    NUMBER: Goal("mean_squared_error", "regression", "rmse", 0.4, 0.05),
    ITEM: Goal("full_softmax", "ranking", "ndcg", 0.62, 0.03),
}
PATIENCES = ((500, 30), (5_000, 20))
"""Epochs without an improvement before training ends: of few rows an epoch is few steps, and chance says more."""
LEAST_PATIENCE = 10
EPOCHS_A_PATIENCE = 20
"""The bound on epochs, which training is not meant to reach."""
BATCHES = ((2_000, 32), (20_000, 128))
LARGEST_BATCH = 512
FEW_ROWS = 5_000
"""Rows below which the epoch to keep is chosen by the Brier score: with few validation rows many have one accuracy."""
TEST_SHARE = 0.2
USUAL_MARGIN = 0.01


@functools.cache
def recipes() -> dict[tuple[str, str], Recipe]:
    """The options for each kind of data and of target, as the rooms of the modalities have them."""
    return {
        (name, target): recipe
        for name, module in modules_of("guess").items()
        for target, recipe in getattr(module, "RECIPES", {}).items()
    }


def check(guess: Guess, path: Path) -> None:
    """Refuse a kind of target that no preprocessor of this kind of data gives.

    Raises:
        DataError: There is no recipe.
    """
    if (guess.modality, guess.target) not in recipes():
        name = next((f" '{note.guess}'" for note in guess.notes if note.what == "target"), "")
        why = f"{guess.modality} is learnt with classes, and the target{name} is a {guess.target}"
        raise DataError(path, None, why, fix="use --kind class, or --modality tabular to leave the text out")


def groups(guess: Guess) -> dict[str, str]:
    """The option of each group, in the order of the files in `conf/task/`."""
    recipe, goal = recipe_of(guess), GOALS[guess.target]
    return {
        "preprocess": recipe.preprocess,
        "model": recipe.model,
        "augment": recipe.augment,
        "loss": goal.loss,
        "optimizer": "adamw",
        "scheduler": "plateau",
        "trainer": "early_stopping",
        "metric": goal.metric,
        "evaluate": recipe.evaluate,
        "export": "onnx",
        "register": goal.register,
        "feedback": "default",
    }


def recipe_of(guess: Guess) -> Recipe:
    """The options for the kind of data and of target, or those that the guess itself chooses."""
    return guess.recipe or recipes()[guess.modality, guess.target]


def settings(guess: Guess) -> Node:
    """What differs from those options."""
    preprocess: Node = dict(guess.preprocess)
    if guess.inputs:
        preprocess["inputs"] = guess.inputs
    if guess.target_settings:
        preprocess["target"] = guess.target_settings
    made: Node = {"preprocess": preprocess} if preprocess else {}
    if guess.net:
        made["model"] = {"net": guess.net}
    patience = _by_rows(guess.num_rows, PATIENCES, LEAST_PATIENCE)
    made["scheduler"] = {"patience": patience // 3}
    made["trainer"] = {
        "max_epochs": EPOCHS_A_PATIENCE * patience,
        "batch_size": _by_rows(guess.num_rows, BATCHES, LARGEST_BATCH),
        "early_stopping": {"patience": patience},
    }
    optimizer = dict(recipe_of(guess).optimizer)
    allowed = margin(guess.target, _num_test(guess), guess.spread)
    usual = guess.target != NUMBER and allowed == USUAL_MARGIN
    if guess.target == CLASS and guess.num_rows < FEW_ROWS:
        made["metric"] = {"monitor": {"name": "brier", "mode": "min"}}
    if guess.reader.get("weight_column"):  # of the figures of validation, the loss alone goes by the weights
        made["metric"] = {"monitor": {"name": "loss", "mode": "min"}}
    return made | {"optimizer": optimizer} | ({} if usual else {"register": {"margin": allowed}})


def margin(target: str, num_test: float, spread: float = 1.0) -> float:
    """What the gate may take for chance: more with few test rows, but never more than a person would give up.

    Args:
        target: Kind of the target.
        num_test: Number of test rows.
        spread: The standard deviation of a number; the margin is in the same unit.
    """
    goal = GOALS[target]
    share = min(goal.noise / math.sqrt(num_test), goal.largest_margin)
    if target == NUMBER:
        return float(f"{share * spread:.2g}")
    return max(math.ceil(100 * share - 1e-9) / 100, USUAL_MARGIN)


def undecided(guess: Guess) -> str:
    """What to say where the test rows cannot tell two equal models apart within the margin; empty where they can."""
    goal, num_test = GOALS[guess.target], _num_test(guess)
    if goal.noise / math.sqrt(num_test) <= goal.largest_margin:
        return ""
    needed = math.ceil((goal.noise / goal.largest_margin) ** 2)
    return (
        f"{num_test:,.0f} test rows are too few for the gate: until there are about {needed:,}, it promotes only what"
        " is clearly better; compare models by folds (fold=range(0,5), docs/registry.md) and promote by hand"
    )


def _num_test(guess: Guess) -> float:
    return guess.num_test or max(TEST_SHARE * guess.num_rows, 1)


def _by_rows(num_rows: int, steps: tuple[tuple[int, int], ...], otherwise: int) -> int:
    return next((value for limit, value in steps if num_rows < limit), otherwise)

"""The gate over twenty retrainings in a row, each worse than the one before: where does the champion end?

Accuracies begin at 92% and fall by 0.2, 0.4 or 0.8 points with each retraining. Mistakes on the test rows are drawn so
that of two equal models one is right and the other wrong in 7% of the rows. Every candidate goes through
`flywheel.registry.gate.decide`, with the margin that `flywheel init-task` writes for so many rows. Before: the rule as
it was (compared with the champion alone, by the bootstrap alone, with the margin that `init-task` wrote).
Lost is how much worse the last champion truly is than the best one, in points. Run: python -m bench gate
"""

from __future__ import annotations

from statistics import NormalDist, mean

import numpy as np

from bench.record import Table
from flywheel.init_task.guess import CLASS
from flywheel.init_task.recipe import margin
from flywheel.project.config import RegisterConfig
from flywheel.registry.decision import Candidate, Champion
from flywheel.registry.gate import NUM_DRAWS, SEED, decide
from flywheel.report.base import Measured
from flywheel.report.bootstrap import Array, Bootstrap, Metric, interval
from flywheel.report.classification import ClassificationReport

NUM_RETRAININGS, START, ALIKE = 20, 0.92, 0.8
STEPS = (0.002, 0.004, 0.008)
CASES = ((10_000, 0.01, 40), (1_000, 0.02, 200), (36, 0.11, 400))
"""Test rows, the margin of before, and how many times the twenty retrainings are drawn."""


class Accuracy(ClassificationReport):
    """Measures accuracy alone, as `ClassificationReport` does: the resamples of the test rows are drawn once."""

    def __init__(self) -> None:
        super().__init__(["right", "wrong"])
        self._weights: dict[int, Array] = {}

    def measure(self, target: Array, scores: Array, bootstrap: Bootstrap) -> Measured:
        """Measure accuracy, with its interval."""
        right = scores.argmax(axis=1) == target
        draws = np.empty(0)
        if bootstrap.num_draws:
            if len(target) not in self._weights:
                self._weights[len(target)] = np.hstack([part.astype(np.float32) for part in bootstrap.blocks()])
            # Whole numbers below 2**24: float32 adds them up exactly.
            draws = (right.astype(np.float32) @ self._weights[len(target)]).astype(np.float64) / len(target)
        return Measured({"accuracy": Metric.of(float(right.mean()), draws, share=bootstrap.share(holds=right))})


class Retrainings:
    """Models one after the other, each worse than the one before, on the same test rows.

    Args:
        num_rows: Of the test set.
        step: By how much the true accuracy falls each time.
        seed: Of the draws.
    """

    def __init__(self, num_rows: int, step: float, seed: int) -> None:
        random = np.random.default_rng((seed, num_rows, round(step * 1e4)))
        self.truth = [START - number * step for number in range(NUM_RETRAININGS + 1)]
        hard = random.normal(size=num_rows)  # what makes a row hard is hard for all models
        own = random.normal(size=(len(self.truth), num_rows))
        limits = [NormalDist().inv_cdf(truth) for truth in self.truth]
        wrong = np.sqrt(ALIKE) * hard + np.sqrt(1 - ALIKE) * own > np.array(limits)[:, None]
        self.scores = [np.stack([~one, one], axis=1).astype(np.float32) for one in wrong]
        self.target = np.zeros(num_rows, np.int64)
        self.measured = [float((~one).mean()) for one in wrong]

    def candidate(self, number: int) -> Candidate:
        """A model as the register stage hands it to the gate."""
        return Candidate(str(number), self.target, self.scores[number], "t", 1, 1.0, train_sha256=str(number))

    def champion(self, number: int) -> Champion:
        """The same model, in service."""
        return Champion(str(number), self.scores[number], train_sha256=str(number))


def after(report: Accuracy, models: Retrainings, allowed: float) -> list[int]:
    """The champions one after the other, by the gate."""
    rules, reign = RegisterConfig("accuracy", margin=allowed), [0]
    for number in range(1, len(models.truth)):
        best = max(reign, key=lambda one: models.measured[one])
        rival = None if best == reign[-1] else models.champion(best)
        if decide(rules, report, models.candidate(number), models.champion(reign[-1]), rival).promoted:
            reign.append(number)
    return reign


def before(report: Accuracy, models: Retrainings, allowed: float) -> list[int]:
    """The champions one after the other, by the rule as it was."""
    reign = [0]
    draws = Bootstrap(len(models.target), NUM_DRAWS, SEED)
    metrics = [report.measure(models.target, scores, draws).metrics["accuracy"] for scores in models.scores]
    for number in range(1, len(models.truth)):
        ours, theirs = metrics[number], metrics[reign[-1]]
        low, _ = interval((ours.value or 0.0) - (theirs.value or 0.0), ours.draws - theirs.draws)
        if low is not None and low >= -allowed:
            reign.append(number)
    return reign


def main() -> Table:
    """Simulate both rules."""
    columns = ["test rows", "points worse each time", "rule", "margin, points", "promotions, mean", "lost, mean",
               "lost, most", "lost more than a margin, runs", "so measured on the test set"]  # fmt: skip
    table = Table("gate", f"{NUM_RETRAININGS} retrainings in a row, each worse than the one before", columns)
    for num_rows, allowed_before, num_runs in CASES:
        report = Accuracy()
        for step in STEPS:
            runs = [Retrainings(num_rows, step, seed) for seed in range(num_runs)]
            for name, rule, allowed in (("before", before, allowed_before), ("now", after, margin(CLASS, num_rows))):
                reigns = [rule(report, models, allowed) for models in runs]
                # Each model is truly worse than the one before, so the best champion is the first.
                lost = [models.truth[0] - models.truth[reign[-1]] for models, reign in zip(runs, reigns, strict=True)]
                seen = [max(models.measured[one] for one in reign) - models.measured[reign[-1]]
                        for models, reign in zip(runs, reigns, strict=True)]  # fmt: skip
                table.add([
                    f"{num_rows:,}", f"{100 * step:g}", name, f"{100 * allowed:g}",
                    f"{mean(len(reign) - 1 for reign in reigns):.1f}",
                    f"{100 * mean(lost):.2f}", f"{100 * max(lost):.1f}",
                    f"{sum(one > allowed + 1e-9 for one in lost)} of {num_runs}",
                    f"{sum(one > allowed + 1e-9 for one in seen)} of {num_runs}",
                ])  # fmt: skip
    return table

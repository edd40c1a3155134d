"""The simulated gate in small: however many worse models come, no more than one margin is lost."""

from __future__ import annotations

import pytest
from bench.bench_gate import Accuracy, Retrainings, after, before

from flywheel.init_task.guess import CLASS
from flywheel.init_task.recipe import margin


@pytest.mark.parametrize(("num_rows", "step"), [(2_000, 0.002), (2_000, 0.004), (1_000, 0.008), (36, 0.004)])
def test_no_more_than_a_margin_is_lost_in_twenty_retrainings(num_rows: int, step: float) -> None:
    report, allowed = Accuracy(), margin(CLASS, num_rows)
    for seed in range(2):
        models = Retrainings(num_rows, step, seed)
        reign = after(report, models, allowed)
        assert max(models.measured[one] for one in reign) - models.measured[reign[-1]] <= allowed + 1e-9
        assert models.truth[0] - models.truth[reign[-1]] <= allowed + 1e-9


def test_the_rule_of_before_lost_more() -> None:
    """Each loss is within a generous margin of the champion before, and they add up."""
    models = Retrainings(2_000, 0.004, 1)
    assert models.truth[0] - models.truth[before(Accuracy(), models, 0.03)[-1]] > 0.07
    assert models.truth[0] - models.truth[after(Accuracy(), models, 0.03)[-1]] <= 0.03


def test_the_simulated_measure_is_the_report_s() -> None:
    from flywheel.report.bootstrap import Bootstrap
    from flywheel.report.classification import ClassificationReport

    models, draws = Retrainings(300, 0.004, 1), Bootstrap(300, 50, 0)
    own = Accuracy().measure(models.target, models.scores[3], draws).metrics["accuracy"]
    other = ClassificationReport(["right", "wrong"]).measure(models.target, models.scores[3], draws).metrics["accuracy"]
    assert (own.value, own.low, own.high) == (other.value, other.low, other.high)
    assert own.draws == pytest.approx(other.draws)

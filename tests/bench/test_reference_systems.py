"""The table of reference systems is made from what was measured, and from nothing else."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

import pytest
from bench.reference_systems import Goal, System, as_markdown, goal_rows, rows, said_of, save, tasks, write_page

from bench import reference_systems as systems


def result(task: str, *values: float, metric: str = "accuracy", **run: Any) -> dict[str, Any]:
    runs = [{"seed": seed, "metrics": {metric: value}, **run} for seed, value in enumerate(values)]
    return {"task": task, "metric": metric, "runs": runs}


NET = System("ref", "digits", "784-10", "accuracy 0.9", 0.9, reached_by=("better", "best"))


def test_without_measurements_nothing_is_claimed(tmp_path: Path) -> None:
    (row,) = rows([NET], tmp_path)
    assert row == ["`ref`", "digits", "784-10", "accuracy 0.9", "", "not measured",
                   "`better`: not measured; `best`: not measured", ""]  # fmt: skip


def test_mean_deviation_and_range_by_hand(tmp_path: Path) -> None:
    save(result("ref", 0.7, 0.8, 0.9), tmp_path)  # mean 0.8, s = sqrt(0.02 / 2) = 0.1
    save(result("better", 0.85, 0.85, 0.85), tmp_path)
    save(result("best", 0.91, 0.92, 0.93), tmp_path)
    (row,) = rows([NET], tmp_path)
    assert row[5] == "accuracy 0.8000 ± 0.1000 (0.7000 to 0.9000)"
    assert row[6] == (
        "`better`: accuracy 0.8500 ± 0.0000 (0.8500 to 0.8500), not reached; "
        "`best`: accuracy 0.9200 ± 0.0100 (0.9100 to 0.9300)"
    )


def test_a_network_that_reaches_its_figure_needs_no_other(tmp_path: Path) -> None:
    save(result("ref", 0.89, 0.9, 0.91), tmp_path)
    assert rows([NET], tmp_path)[0][6] == "the network itself"


def test_a_system_stands_beside_the_baselines_of_its_own_metric(tmp_path: Path) -> None:
    rivals = {"linear": {"metrics": {"accuracy": 0.75, "auc": 0.9}}, "majority": {"metrics": {"accuracy": None}}}
    save(result("ref", 0.7, 0.8, 0.9) | {"baselines": rivals}, tmp_path)
    assert rows([NET], tmp_path)[0][7] == "linear 0.7500; majority undefined"


def test_a_system_that_nothing_reaches_says_so(tmp_path: Path) -> None:
    alone = System("ref", "", "", "accuracy 0.9", 0.9)
    assert rows([alone], tmp_path)[0][6] == ""
    save(result("ref", 0.8), tmp_path)
    assert rows([alone], tmp_path)[0][5:] == ["accuracy 0.8000, 1 of 3 seeds", "nothing yet", ""]


@pytest.mark.parametrize(("rises", "last", "held"), [(0, 0.5, "3 of 3"), (1, 0.5, "0 of 3"), (0, 2.0, "0 of 3")])
def test_a_loss_that_falls(rises: int, last: float, held: str) -> None:
    found = result("ref", 1.0, 1.0, 1.0, num_rises=rises, first_loss=2.0, last_loss=last, num_epochs=7)
    said = said_of(found, System("ref", "", "", "", claim="falls"))
    assert said == f"it falls after each of 7 epochs with {held} seeds: 2 to {last:.3g}"


def test_rows_on_the_right_side() -> None:
    said = said_of(result("ref", 1.0, 0.75, 1.0), System("ref", "", "", "", claim="right"))
    assert said == "each row is on the right side with 2 of 3 seeds"


@pytest.mark.parametrize(
    ("value", "beats", "wanted", "reached"),
    [
        (0.8, "", "0.8 or more", "yes"),
        (0.81, "", "0.81 or more", "no"),
        (None, "knn", "above knn", "yes"),
        (0.81, "knn", "0.81 or more; above knn", "no"),
        (0.5, "equal", "0.5 or more; above equal", "no"),
        (0.5, "missing", "0.5 or more; above missing", "no"),
    ],
)
def test_a_goal_is_reached_by_the_mean_alone(
    tmp_path: Path, value: float | None, beats: str, wanted: str, reached: str
) -> None:
    found = result("task", 0.7, 0.8, 0.9, metric="ndcg_10")
    rivals = {"knn": {"ndcg_10": 0.75}, "equal": {"ndcg_10": statistics.mean((0.7, 0.8, 0.9))}}
    found |= {"metric": "another", "baselines": {name: {"metrics": metrics} for name, metrics in rivals.items()}}
    save(found, tmp_path)
    (row,) = goal_rows([Goal("task", "films", "ndcg_10", value, beats)], tmp_path)
    assert row == ["`task`", "films", "ndcg_10", wanted, "0.8000 ± 0.1000 (0.7000 to 0.9000)",
                   "knn 0.7500; equal 0.8000", reached]  # fmt: skip


def test_a_goal_without_measurements_is_not_reached(tmp_path: Path) -> None:
    (row,) = goal_rows([Goal("task", "films", "accuracy", 0.5)], tmp_path)
    assert row[4:] == ["not measured", "", ""]


def test_the_table_is_put_between_the_markers_and_again(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"# Title\n\n{systems.BEGIN}\nold\n{systems.END}\n\nAfter.\n")
    write_page(page, tmp_path)
    once = page.read_text()
    assert once.startswith(f"# Title\n\n{systems.BEGIN}\n\n| task | data |")
    assert once.endswith(f"|\n\n{systems.END}\n\nAfter.\n")
    assert "old" not in once
    write_page(page, tmp_path)
    assert page.read_text() == once
    page.write_text("# Title\n")
    with pytest.raises(ValueError, match="lacks the lines"):
        write_page(page, tmp_path)


def test_every_row_of_the_markdown_has_every_column() -> None:
    lines = as_markdown(rows()).splitlines()
    assert {line.count(" | ") for line in lines} == {len(systems.COLUMNS) - 1}


def test_the_page_is_what_the_results_say(tmp_path: Path) -> None:
    copy = tmp_path / "page.md"
    copy.write_text(systems.PAGE.read_text())
    write_page(copy)
    assert copy.read_text() == systems.PAGE.read_text(), "run `python -m bench.bench_reference`"


def test_every_result_is_of_a_known_task_and_its_seeds_in_order() -> None:
    for file in systems.RESULTS.glob("reference_*.json"):
        found = json.loads(file.read_text())
        assert found["task"] in tasks(), file.name
        seeds = [run["seed"] for run in found["runs"]]
        assert seeds, file.name
        assert seeds == [seed for seed in range(systems.NUM_SEEDS) if seed in seeds], file.name
        assert all(found["metric"] in run["metrics"] for run in found["runs"]), file.name


def test_published_figures_are_those_of_the_configuration(root: Path) -> None:
    from flywheel.project.compose import compose_task

    for system in systems.SYSTEMS:
        if not (root / f"conf/task/{system.task}.yaml").is_file():
            continue
        published = compose_task(root, [f"task={system.task}"])["evaluate"].get("published")
        if published is not None:
            assert published["value"] == system.goal, system.task

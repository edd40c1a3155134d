"""Reference systems beside what was published of each, tasks with a goal, and docs/reference-systems.md's tables."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
PAGE = Path(__file__).parent.parent / "docs" / "reference-systems.md"
BEGIN = "<!-- written by `python -m bench reference` from bench/results/reference_*.json -->"
END = "<!-- end of what is written -->"
NOT_MEASURED = "not measured"
NUM_SEEDS = 3
COLUMNS = ["task", "data", "network and training", "published", "where ours departs from it", "ours, three seeds",
           "what reaches it, three seeds", "baselines, the same test rows"]  # fmt: skip
GOAL_COLUMNS = ["task", "what it is", "metric", "goal", "ours, three seeds", "baselines, the same test rows", "reached"]

Json = dict[str, Any]


@dataclass(frozen=True)
class System:
    """One reference system.

    Attributes:
        task: `conf/task/<task>.yaml`.
        data: In a few words.
        network: Network and training, as published.
        published: The figure or claim, as published.
        goal: The published figure; None: there is none, or a claim instead.
        claim: What is claimed instead of a figure: `falls` (the training loss falls after each epoch) or `right`
            (every row is classified rightly); empty: nothing.
        reached_by: Tasks that reach what the published network does not.
        departs: Where ours is not to the letter what was published; empty: nowhere that we know.
    """

    task: str
    data: str
    network: str
    published: str
    goal: float | None = None
    claim: str = ""
    reached_by: tuple[str, ...] = ()
    departs: str = ""


_MNIST = "the validation fifth is drawn; in Keras it is the end of the file"
_IMDB = "24,990 of the 25,000 reviews train: ten are validation, by which nothing is chosen"

SYSTEMS = (
    System("ref_mnist_mlp", "MNIST, official 60,000 and 10,000",
           "784-64-64-10 ReLU, Adam, cross-entropy, 10 epochs, batch 32, validation 0.2", "accuracy 0.9870", 0.9870,
           departs=_MNIST),
    System("ref_mnist5k_mlp", "MNIST, 5,000 digits, 1,000 of them test",
           "the same, with a fifteenth of the training rows", "accuracy 0.9870 (whole MNIST)", 0.9870,
           reached_by=("ref_mnist5k_cnn",), departs=f"5,000 digits instead of 70,000; {_MNIST}"),
    System("ref_regression", "3 features, 1 target: the row [1, 2, 3] -> 1",
           "3-2-1 ReLU, mean squared error, SGD lr 0.1", "loss falls after each step", claim="falls"),
    System("ref_regression_diabetes", "diabetes, 3 chosen columns",
           "3-2-1 ReLU, mean squared error, SGD lr 0.1", "loss falls after each step", claim="falls"),
    System("ref_text_gap", "IMDb, official 25,000 and 25,000",
           "vocabulary 1,000, the last 100 tokens, embedding 16, global average pooling over padding too, dense 32"
           " ReLU, sigmoid; Adam, binary cross-entropy, 10 epochs, batch 32", "none", departs=_IMDB),
    System("ref_text_gap_tweets", "tweets, three classes", "the same", "none",
           departs="a softmax over three classes and cross-entropy; other data"),
    System("ref_speech_lstm", "FSDD, official test part",
           "quantised frames: vocabulary 1,000, embedding 16, length 100, LSTM 32, softmax 10",
           "none; 0.98 is quoted for industry speech recognition", 0.98, reached_by=("fsdd",),
           departs="what made the frames words is not published: ours are 1,000 means of frames"),
    System("ref_speech_lstm_synthetic", "synthesised digits, unseen voices", "the same",
           "none; 0.98 is quoted for industry speech recognition", 0.98, reached_by=("spoken_digits",),
           departs="the same; other data"),
    System("ref_imdb_lstm", "IMDb, official 25,000 and 25,000",
           "vocabulary 10,000, the last 500 tokens, embedding 64, LSTM 64 x 2, sigmoid; Adam, 5 epochs, batch 32",
           "accuracy 0.86", 0.86, reached_by=("ref_imdb_lstm_max", "imdb"), departs=_IMDB),
    System("ref_imdb_lstm512", "IMDb, official 25,000 and 25,000",
           "vocabulary 10,000, the last 500 tokens, two layers of 512 LSTM units, softmax over two classes; Adam,"
           " batch 32",
           "none", departs=f"embedding 64 and 5 epochs, which are not published; {_IMDB}"),
    System("ref_transformer", "IMDb, official 25,000 and 25,000",
           "vocabulary 20,000, the last 200 tokens, embedding 32, one transformer block of 2 heads and 32 units, the"
           " mean over all places, dense 20 ReLU, softmax; Adam, 2 epochs, batch 32 (Keras' example, Nandan 2020)",
           "accuracy 0.87", 0.87, reached_by=("imdb",),
           departs=f"padding stands after the review, in Keras before it; {_IMDB}"),
    System("ref_two_bits", "the four rows 10, 01, 11, 10 with labels 0, 1, 1, 0",
           "2 sigmoid units from 2 inputs, binary cross-entropy, Adam, 1,000 epochs",
           "each row on the right side of 0.5", claim="right"),
)  # fmt: skip


@dataclass(frozen=True)
class Goal:
    """What a task should reach, measured in one metric of its report.

    Attributes:
        task: `conf/task/<task>.yaml`.
        about: In a few words.
        metric: A key of `metrics.json`.
        value: The mean over the seeds should be this or more; None: the baseline's figure instead.
        beats: The baseline whose figure the mean should be above; empty: none.
    """

    task: str
    about: str
    metric: str
    value: float | None = None
    beats: str = ""


GOALS = (
    Goal("tweets", "three classes; near-duplicates on one side of the split", "accuracy",
         0.764, "tfidf_logistic_regression"),
    Goal("tweets", "the same", "f1_macro", 0.741, "tfidf_logistic_regression"),
    Goal("imdb", "official split", "accuracy", 0.91),
    Goal("fsdd", "official test part", "accuracy", 0.98),
    Goal("spoken_digits", "voices that training never hears", "accuracy", 0.95),
    Goal("breast_cancer", "malignant or benign", "auc", 0.99),
    Goal("movielens", "each user's last film, among the whole catalogue", "ndcg_10", None, "item_knn"),
    Goal("movielens", "the same", "hit_rate_10", None, "item_knn"),
)  # fmt: skip


def tasks() -> list[str]:
    """Every task of the tables, the ones that reach a figure included, in their order."""
    names = [name for system in SYSTEMS for name in (system.task, *system.reached_by)]
    return list(dict.fromkeys([*names, *(goal.task for goal in GOALS)]))


def load(task: str, folder: Path = RESULTS) -> Json | None:
    """Read what was measured of a task; None: nothing."""
    file = folder / f"reference_{task}.json"
    if not file.is_file():
        return None
    found: Json = json.loads(file.read_text())
    return found


def save(result: Json, folder: Path = RESULTS) -> None:
    """Write what was measured of a task."""
    folder.mkdir(exist_ok=True)
    (folder / f"reference_{result['task']}.json").write_text(json.dumps(result, indent=1) + "\n")


def rows(systems: Sequence[System] = SYSTEMS, folder: Path = RESULTS) -> list[list[str]]:
    """The table's rows, from the kept results alone."""
    return [
        [
            f"`{system.task}`",
            system.data,
            system.network,
            system.published,
            system.departs,
            said_of(load(system.task, folder), system),
            _reached(system, folder),
            "" if system.claim else _rivals(load(system.task, folder) or {}),
        ]
        for system in systems
    ]


def said_of(result: Json | None, system: System) -> str:
    """Say what was measured: of a claim, with how many seeds it held; of a figure, its mean and spread."""
    if result is None:
        return NOT_MEASURED
    runs = result["runs"]
    if system.claim == "falls":
        held = sum(run["num_rises"] == 0 and run["last_loss"] < run["first_loss"] for run in runs)
        first, last = (statistics.mean(run[key] for run in runs) for key in ("first_loss", "last_loss"))
        return (
            f"it falls after each of {runs[0]['num_epochs']} epochs with {_of(held, runs)}: {first:.3g} to {last:.3g}"
        )
    if system.claim == "right":
        held = sum(run["metrics"]["accuracy"] == 1 for run in runs)
        return f"each row is on the right side with {_of(held, runs)}"
    return spread(result)


def goal_rows(goals: Sequence[Goal] = GOALS, folder: Path = RESULTS) -> list[list[str]]:
    """The rows of the tasks with a goal, from the kept results alone."""
    found = []
    for goal in goals:
        result = load(goal.task, folder)
        wanted = [] if goal.value is None else [f"{goal.value:g} or more"]
        wanted += [f"above {goal.beats}"] * bool(goal.beats)
        head = [f"`{goal.task}`", goal.about, goal.metric, "; ".join(wanted)]
        if result is None:
            found.append([*head, NOT_MEASURED, "", ""])
            continue
        ours, rivals = spread(result, goal.metric, named=False), _rivals(result, goal.metric)
        found.append([*head, ours, rivals, _verdict(goal, result)])
    return found


def _verdict(goal: Goal, result: Json) -> str:
    """Whether the mean over the seeds is what the goal asks; a baseline that was not measured is not beaten."""
    mean = _mean(result, goal.metric)
    rival = result.get("baselines", {}).get(goal.beats, {}).get("metrics", {}).get(goal.metric)
    enough = goal.value is None or mean >= goal.value
    beaten = not goal.beats or (rival is not None and mean > rival)
    return "yes" if enough and beaten else "no"


def _rivals(result: Json, metric: str = "") -> str:
    """Each baseline's figure in a metric, the result's own one where empty."""
    rivals = {name: one["metrics"][metric or result["metric"]] for name, one in result.get("baselines", {}).items()}
    return "; ".join(f"{name} {'undefined' if value is None else f'{value:.4f}'}" for name, value in rivals.items())


def spread(result: Json, metric: str = "", *, named: bool = True) -> str:
    """A metric's mean over the seeds, deviation, lowest and highest.

    Args:
        result: What was measured of a task.
        metric: The result's own one where empty.
        named: Whether the metric's name stands before the figures.
    """
    metric = metric or result["metric"]
    values = [run["metrics"][metric] for run in result["runs"]]
    text = f"{metric} {statistics.mean(values):.4f}" if named else f"{statistics.mean(values):.4f}"
    if len(values) > 1:
        text += f" ± {statistics.stdev(values):.4f} ({min(values):.4f} to {max(values):.4f})"
    return text if len(values) >= NUM_SEEDS else f"{text}, {len(values)} of {NUM_SEEDS} seeds"


def _reached(system: System, folder: Path) -> str:
    """Whether the published figure is reached, and by what."""
    own = load(system.task, folder)
    if system.goal is None:
        return ""
    if own is not None and _mean(own) >= system.goal:
        return "the network itself"
    found = []
    for task in system.reached_by:
        other = load(task, folder)
        if other is None:
            found.append(f"`{task}`: {NOT_MEASURED}")
        else:
            found.append(f"`{task}`: {spread(other)}{'' if _mean(other) >= system.goal else ', not reached'}")
    return "; ".join(found) or ("" if own is None else "nothing yet")


def _mean(result: Json, metric: str = "") -> float:
    mean: float = statistics.mean(run["metrics"][metric or result["metric"]] for run in result["runs"])
    return mean


def _of(held: int, runs: Sequence[Json]) -> str:
    return f"{held} of {len(runs)} seeds"


def as_markdown(found: Sequence[Sequence[str]], columns: Sequence[str] = tuple(COLUMNS)) -> str:
    """The rows as a Markdown table."""
    lines = [columns, ["---"] * len(columns), *found]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def write_page(page: Path = PAGE, folder: Path = RESULTS) -> None:
    """Put the tables between the page's markers.

    Raises:
        ValueError: The page has no markers.
    """
    text = page.read_text()
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"{page} lacks the lines {BEGIN} and {END}")
    goals = as_markdown(goal_rows(folder=folder), GOAL_COLUMNS)
    tables = f"{as_markdown(rows(folder=folder))}\n\n## Tasks with a goal\n\n{goals}"
    page.write_text(f"{before}{BEGIN}\n\n{tables}\n\n{END}{after}")

"""`profile.json`: what the data hold, what was dropped and why, and what was found twice."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from flywheel.preprocessor.pipeline.splitter import PARTS, SplitPlan
from flywheel.preprocessor.pipeline.survey import Survey
from flywheel.project.types import Json

FORMAT = 1
BLOCK = 1 << 20  # values summed at a time: sums are made in 64 bits


@dataclass
class Range:
    """Smallest and largest value, and for small whole numbers the mean and deviation, from sums that are exact."""

    low: float | None = None
    high: float | None = None
    number: int = 0
    total: int = 0
    squares: int = 0
    exact: bool = True

    def add(self, values: np.ndarray[Any, Any]) -> None:
        """Take in more values."""
        if not values.size:
            return
        low, high = values.min().item(), values.max().item()
        self.low = low if self.low is None else min(self.low, low)
        self.high = high if self.high is None else max(self.high, high)
        self.exact = self.exact and values.dtype.kind in "iu" and values.dtype.itemsize <= 2
        flat = values.reshape(-1)
        self.number += flat.size
        for start in range(0, flat.size if self.exact else 0, BLOCK):
            block = flat[start : start + BLOCK].astype(np.float64)
            # Sums of at most 2^20 whole numbers below 2^32: within the 53 bits that a float64 holds exactly.
            self.total += int(block.sum())
            self.squares += int(block @ block)

    def merge(self, other: Range) -> None:
        """Take in what another has seen."""
        if other.low is None or other.high is None:
            return
        self.low = other.low if self.low is None else min(self.low, other.low)
        self.high = other.high if self.high is None else max(self.high, other.high)
        self.exact = self.exact and other.exact
        self.number, self.total = self.number + other.number, self.total + other.total
        self.squares += other.squares

    def to_json(self) -> Json:
        """`min`, `max` and, where they are exact, `mean` and `std`."""
        state: Json = {"min": self.low, "max": self.high}
        if self.exact and self.number:
            variance = (self.number * self.squares - self.total**2) / self.number**2
            state |= {"mean": self.total / self.number, "std": variance**0.5}
        return state


@dataclass
class Ranges:
    """A Range for each input of each split."""

    by_split: dict[str, dict[str, Range]] = field(default_factory=dict)

    def add(self, split: str, inputs: dict[str, np.ndarray[Any, Any]]) -> None:
        """Take in more rows."""
        for name, values in inputs.items():
            self.by_split.setdefault(split, {}).setdefault(name, Range()).add(values)

    def merge(self, other: Ranges) -> None:
        """Take in what others have seen."""
        for split, found in other.by_split.items():
            for name, seen in found.items():
                self.by_split.setdefault(split, {}).setdefault(name, Range()).merge(seen)


def class_counts(surveys: dict[str, Survey], plan: SplitPlan, part: str, num_codes: int) -> np.ndarray[Any, Any]:
    """Count a part's rows by label code."""
    counts = np.zeros(num_codes, np.int64)
    for source, parts in plan.parts.items():
        counts += np.bincount(surveys[source].codes[parts == PARTS[part]], minlength=num_codes)  # type: ignore[index]
    return counts


def make_profile(
    task: str, surveys: dict[str, Survey], plan: SplitPlan, meta: Json, counts: dict[str, dict[str, int]],
    ranges: Ranges, num_feedback: int, statistics: dict[str, Json] | None = None, facts: Json | None = None,
) -> Json:  # fmt: skip
    """Put together what `profile.json` says.

    Args:
        task: The task's name.
        surveys: The first pass's findings, by split of the raw data.
        plan: Plan of the split.
        meta: The processed data's `meta.json`.
        counts: Rows of each class, by split.
        ranges: The ranges of the inputs, by split.
        num_feedback: Rows of train that came from feedback.
        statistics: Statistics from the preprocessor, by split.
        facts: Facts that the preprocessor learnt from train.
    """
    splits = {
        name: {
            "num_rows": number,
            "classes": {label: count for label, count in counts[name].items() if label},  # a number has no classes
            "inputs": {key: found.to_json() for key, found in ranges.by_split.get(name, {}).items()},
            **((statistics or {}).get(name, {})),
        }
        for name, number in meta["num_rows"].items()
    }
    train = surveys["train"].split.num_rows
    raw = {name: found.split.num_rows for name, found in surveys.items()} | {"train": train - num_feedback}
    used = plan.parts["train"][train - num_feedback :] == PARTS["train"]
    return {
        "format": FORMAT,
        "task": task,
        "raw": raw,
        "feedback": {"num_rows": num_feedback, "used": int(used.sum())},
        "splits": splits,
        "scaling": {name: {k: v for k, v in found.items() if k in ("mean", "std")}
                    for name, found in meta["inputs"].items()},
        "dropped": {name: {"num_rows": found.dropped.num_rows, "share": found.dropped.num_rows / found.split.num_rows,
                           "reasons": list(found.dropped.reasons.values())} for name, found in surveys.items()},
        "duplicates": {name: matches.to_json() for name, matches in sorted(plan.duplicates.items())},
        "contradictory": plan.num_contradictory,
        **({"preprocessor": facts} if facts else {}),
    }  # fmt: skip


def summary(profile: Json) -> str:
    """Say in one line how many rows each part has, and how many were dropped for which reason."""
    rows = ", ".join(f"{name} {split['num_rows']:,}" for name, split in profile["splits"].items())
    bad = sum(int(found["num_rows"]) for found in profile["dropped"].values())
    dropped = {kind: int(found["dropped"]) for kind, found in profile["duplicates"].items()}
    copies = dropped.pop("within_train")
    near = sum(number for kind, number in dropped.items() if kind.startswith("near_"))
    words = [rows, f"dropped: {bad:,} bad rows", f"{copies:,} duplicates within train",
             f"{sum(dropped.values()) - near:,} equal to a held-out row"]  # fmt: skip
    words += [f"{near:,} nearly equal to one"] if near else []
    said = "; ".join([words[0], ", ".join(words[1:])])
    if (weight := profile["splits"]["train"].get("weight")) is not None:
        said += f"; train rows have weights and count as much as {weight['effective_rows']:,.0f} of one weight"
    if profile["feedback"]["num_rows"]:
        said += f"; {profile['feedback']['used']} of {profile['feedback']['num_rows']} feedback rows used"
    return f"{profile['task']}: {said}"


def remarks(profile: Json) -> list[str]:
    """Say what a person should know of rows that are equal: test rows that train has too, labels that contradict."""
    found = []
    matches = profile["duplicates"]["train_in_test"]
    copies = matches["num_rows"] - matches["other_label"]
    if copies and not matches["dropped"]:
        number, total = matches["num_others"], profile["splits"]["test"]["num_rows"]
        found.append(
            f"{number:,} of {total:,} test rows have all inputs of a row outside test; {copies:,} such rows have the "
            "label too, and are kept. If they are copies and not observations that are alike, set preprocess.overlap: "
            "drop, or weight, so that copies count once together"
        )
    if profile["contradictory"] and profile["splits"]["train"]["classes"]:
        total = sum(profile["raw"].values()) + profile["feedback"]["num_rows"]
        found.append(
            f"{profile['contradictory']:,} of {total:,} rows have the inputs of another row and another label: no "
            "model can get all of them right"
        )
    tied = profile["splits"]["test"].get("tied_times", 0)
    if tied:
        total = profile["splits"]["test"]["num_rows"]
        found.append(
            f"{tied:,} of {total:,} test rows ({tied / total:.0%}) are a user's last by chance: others are at the same "
            "time. Give finer times, if there are any"
        )
    return found

"""A sweep's folder: what it is, so that the same command finds it again, and what has become of each trial.

<sweep>/sweep.json       identity, space, objectives, number of trials planned
<sweep>/parent.json      the parent run
<sweep>/stopped.json     why no trial is started at present: a store does not answer
<sweep>/<number>/        a trial: trial.json (params, starts), curve.json, result.json (when it has ended), log.txt
"""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from flywheel.project.errors import ConfigError
from flywheel.project.types import Json
from flywheel.project.whole import whole_file
from flywheel.sweep.search.space import Dimension
from flywheel.sweep.search.trial import COMPLETE, FAILED, PRUNED, RUNNING, WAITING, Objective, Trial

SWEEP, TRIAL, CURVE, RESULT, LOG = "sweep.json", "trial.json", "curve.json", "result.json", "log.txt"
STOPPED = "stopped.json"


@dataclass(frozen=True)
class SweepPlan:
    """What a sweep is.

    Attributes:
        identity: Hash of all that decides what is trained, and how it is searched.
        study: Name of the study.
        command: Command that started it, without `sweep.resume`.
        num_planned: Number of planned trials.
        space: The search space.
        objectives: The figures, the score first.
        finished: Whether all planned trials have ended.
    """

    identity: str
    study: str
    command: str
    num_planned: int
    space: list[Dimension] = field(default_factory=list)
    objectives: list[Objective] = field(default_factory=list)
    finished: bool = False


def write_plan(folder: Path, plan: SweepPlan) -> None:
    """Note what a sweep is."""
    _write(folder / SWEEP, asdict(plan))


def read_plan(folder: Path) -> SweepPlan | None:
    """Read it back; None where there is none that can be read."""
    try:
        raw = json.loads((folder / SWEEP).read_text())
        space = [Dimension(**{**one, "choices": tuple(one["choices"])}) for one in raw.pop("space")]
        return SweepPlan(**{**raw, "space": space, "objectives": [Objective(**one) for one in raw["objectives"]]})
    except (OSError, ValueError, KeyError, TypeError):
        return None


def unfinished(folders: Path, identity: str) -> Path | None:
    """The newest folder of an unfinished sweep of this identity; None where there is none."""
    for folder in sorted((p for p in folders.glob("*") if p.is_dir()), reverse=True):
        plan = read_plan(folder)
        if plan is not None and plan.identity == identity and not plan.finished:
            return folder
    return None


@contextlib.contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold a sweep's folder, so that no second process goes on with it; a killed one holds nothing.

    Raises:
        ConfigError: Another process works on it.
    """
    from filelock import FileLock, Timeout

    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / "lock", timeout=0):
            yield
    except Timeout:
        fix = "wait for it, or leave out sweep.resume to start another"
        raise ConfigError("another process works on this sweep", where=folder, fix=fix) from None


def note_trial(folder: Path, number: int, params: dict[str, str], settings: Json) -> None:
    """Note a trial's params, and what its job must know; the starts that are counted already stay."""
    place = folder / str(number)
    place.mkdir(parents=True, exist_ok=True)
    before: Json = read_if_there(place / TRIAL) or {}
    kept: Json = {key: before[key] for key in ("starts", "epochs") if key in before}
    _write(place / TRIAL, {"number": number, "params": params, **settings, **kept})


def count_start(place: Path) -> None:
    """Count that a trial's job starts, from one again where the last start brought it an epoch forward."""
    noted, epochs = json.loads((place / TRIAL).read_text()), len(curve_of(place))
    starts = noted.get("starts", 0) if noted.get("epochs") == epochs else 0
    _write(place / TRIAL, {**noted, "starts": starts + 1, "epochs": epochs})


def stop(place: Path, why: str) -> None:
    """Let no more trials start, because of something that is not a trial's fault; this start does not count."""
    noted = json.loads((place / TRIAL).read_text())
    _write(place / TRIAL, {**noted, "starts": max(noted.get("starts", 0) - 1, 0)})
    _write(place.parent / STOPPED, {"why": why})


def why_stopped(folder: Path) -> str:
    """Why no more trials are to start; empty where nothing is in the way."""
    return str((read_if_there(folder / STOPPED) or {}).get("why", ""))


def clear_stop(folder: Path) -> None:
    """Let trials start again."""
    (folder / STOPPED).unlink(missing_ok=True)


def fruitless_starts(folder: Path, number: int) -> int:
    """How often a trial was started since it last finished an epoch."""
    place = folder / str(number)
    noted = read_if_there(place / TRIAL) or {}
    return int(noted.get("starts", 0)) if noted.get("epochs") == len(curve_of(place)) else 0


def curve_of(place: Path) -> list[float]:
    """The metric after each epoch so far."""
    return list((read_if_there(place / CURVE) or {}).get("curve", ()))


def result_of(folder: Path, number: int) -> Json | None:
    """Result of a trial's job; None where it has not ended."""
    return read_if_there(folder / str(number) / RESULT)


def write_result(folder: Path, number: int, result: Json) -> None:
    """Note what a trial's job came to."""
    _write(folder / str(number) / RESULT, result)


def trials_in(folder: Path) -> list[Trial]:
    """Every trial that was drawn, by number."""
    numbers = sorted(int(place.name) for place in folder.iterdir() if place.name.isdigit())
    return [found for number in numbers if (found := _trial(folder / str(number), number)) is not None]


def is_hopeless(folder: Path, max_failures: int) -> bool:
    """Whether so many trials have failed that none is to be started any more."""
    return sum(trial.state == FAILED for trial in trials_in(folder)) >= max_failures


def _trial(place: Path, number: int) -> Trial | None:
    noted = read_if_there(place / TRIAL)
    if noted is None:
        return None
    result, params = read_if_there(place / RESULT), dict(noted["params"])
    curve = tuple((result or read_if_there(place / CURVE) or {}).get("curve", ()))
    if result is None:
        return Trial(number, params, RUNNING if noted.get("starts") else WAITING, curve=curve)
    state = FAILED if "error" in result else PRUNED if result.get("pruned") else COMPLETE
    return Trial(
        number=number,
        params=params,
        state=state,
        score=_number(result.get("score")),
        values=tuple(_number(value) for value in result.get("values", ())),
        curve=curve,
        epoch=result.get("epoch"),
        seconds=result.get("seconds"),
        error=" ".join(str(result.get("error", "")).split()),
        model_sha256=str(result.get("model_sha256", "")),
    )


def write_curve(place: Path, curve: Sequence[float]) -> None:
    """Note the metric after each epoch so far."""
    _write(place / CURVE, {"curve": list(curve)})


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else math.nan


def read_if_there(file: Path) -> Json | None:
    """Read a JSON file; None where it is missing or damaged."""
    try:
        found = json.loads(file.read_text())
    except (FileNotFoundError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _write(file: Path, content: Json) -> None:
    with whole_file(file) as part:
        part.write_text(json.dumps(content) + "\n")

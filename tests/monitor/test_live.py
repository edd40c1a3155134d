"""What the page of a version shows: counts, drift, quality and history, from what a server has kept."""

from __future__ import annotations

import itertools
import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flywheel.feedback.store import FeedbackStore
from flywheel.monitor import live
from flywheel.monitor.journal import Entry, Journal
from flywheel.monitor.live import look
from flywheel.project.config_feedback import FeedbackConfig
from flywheel.project.digest import sha256_of
from flywheel.registry import log as registry_log
from flywheel.registry.package import MODEL, PREPROCESSOR
from flywheel.serve import look_with
from flywheel.serving.problem import RequestError
from flywheel.serving.version.record import Feedback, Prediction
from flywheel.serving.version.served import ChampionVersion

Array = np.ndarray[Any, Any]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project without anything."""
    (tmp_path / "conf").mkdir()
    (tmp_path / "dvc.yaml").touch()
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def store(here: Path) -> FeedbackStore:
    return FeedbackStore(f"sqlite:///{here / 'f.db'}", settings={"digits": FeedbackConfig(keep="full")})


@pytest.fixture
def served(digits_store: Path) -> ChampionVersion:
    """digits/1 as the registry holds it."""
    folder = next(digits_store.rglob("evidence")).parent
    sha256 = json.loads((folder / "evidence/metrics.json").read_text()).get("model_sha256", "a" * 64)
    return ChampionVersion("digits", 1, sha256, str(folder), sums_of(folder))


def sums_of(folder: Path) -> dict[str, str]:
    """What the registry says of a version from before it kept the checksum of the list."""
    return {name: sha256_of(folder / name) for name in (MODEL, PREPROCESSOR)}


def answer(store: FeedbackStore, number: int, row: Any, *, right: bool | None, hours: float = 1.0) -> None:
    made = datetime.now(UTC) - timedelta(hours=hours)
    told = {"label": "1", "probability": 0.9}
    name = f"p{number}"
    store.record_predictions([Prediction(name, "digits", 1, "a" * 64, made, row, f"{number:064x}", told)])
    if right is not None:
        store.record_feedback([Feedback(f"f{number}", name, "1" if right else "2", None, made)])


def test_a_server_that_keeps_nothing_shows_the_history_alone(here: Path, served: ChampionVersion) -> None:
    registry_log.append("digits", registry_log.event("promoted", before=None, after=1, model_sha256="a", why="first"))
    Journal(here / ".flywheel/loop/digits.jsonl").add(Entry("2026-11-26T00:00:00+00:00", "wait", "decided", "too few"))
    found = look(served, None)
    assert (found["check"], found["volumes"]) == (None, [])
    assert "record: off" in found["why_not"]
    assert [(one["action"], one["after"], one["why"]) for one in found["champions"]] == [("promoted", 1, "first")]
    assert [(one["action"], one["why"]) for one in found["loop"]] == [("wait", "too few")]


def test_predictions_feedback_drift_and_quality_are_seen(store: FeedbackStore, served: ChampionVersion) -> None:
    random = np.random.default_rng(0)
    for number in range(120):
        picture = random.integers(200, 255, (8, 8)).tolist()  # nothing like a digit
        answer(store, number, {"image": picture}, right=number % 2 == 0 if number < 80 else None, hours=1 + number % 5)
    answer(store, 999, {"image": picture}, right=None, hours=24 * 30)
    found = look(served, store)
    assert sum(one["predictions"] for one in found["volumes"]) == 120
    assert sum(one["feedback"] for one in found["volumes"]) == 80
    assert len(found["volumes"]) >= 28, "steps without a prediction are there, too"
    starts = [datetime.fromisoformat(one["start"]) for one in found["volumes"]]
    assert {after - before for before, after in itertools.pairwise(starts)} == {live.STEP}
    check = found["check"]
    assert check["alarm"], found["why_not"]
    assert check["inputs"]["drifted"]
    assert check["quality"]["live"]["value"] == 0.5
    json.dumps(found)


@pytest.mark.slow
def test_a_look_in_a_process_of_its_own_sees_the_same_and_says_what_fails(
    store: FeedbackStore, served: ChampionVersion, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(5):
        answer(store, number, {"image": [[0] * 8] * 8}, right=True)
    monkeypatch.setenv("FLYWHEEL_FEEDBACK_URL", f"sqlite:///{here / 'f.db'}")
    assert look_with(True)(served) == json.loads(json.dumps(look(served, store)))
    (here / "none.db").write_text("no database, but a text that somebody put here\n" * 50)
    monkeypatch.setenv("FLYWHEEL_FEEDBACK_URL", f"sqlite:///{here / 'none.db'}")
    with pytest.raises(RequestError, match="file is not a database") as error:
        look_with(True)(served)
    assert error.value.status == 503
    assert "\n" not in str(error.value)


def test_a_version_without_a_reference_says_so(store: FeedbackStore, served: ChampionVersion, tmp_path: Path) -> None:
    folder = tmp_path / "version"
    shutil.copytree(served.folder, folder)
    (folder / "evidence/reference.safetensors").unlink()
    listed = json.loads((folder / "checksums.json").read_text())
    del listed["evidence/reference.safetensors"]
    (folder / "checksums.json").write_text(json.dumps(listed))
    found = look(ChampionVersion("digits", 1, "b" * 64, str(folder), served.sums), store)
    assert found["check"] is None
    assert "missing" in found["why_not"]

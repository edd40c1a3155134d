"""What the server's page `/live` shows of a version: its traffic as `flywheel monitor` sees it, and its history."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path

from flywheel.feedback.figures import volumes
from flywheel.feedback.store import FeedbackStore
from flywheel.monitor.check import InService, examine
from flywheel.monitor.journal import Journal
from flywheel.monitor.reference import FILE, Reference
from flywheel.monitor.settings import load_settings
from flywheel.monitor.window import Traffic, read_window
from flywheel.preprocessor.task import load_preprocessor
from flywheel.project.errors import FlywheelError
from flywheel.project.params import project_root, state_dir
from flywheel.project.types import Json
from flywheel.registry import log as registry_log
from flywheel.registry.evidence import METRICS
from flywheel.registry.package import ARTIFACTS, EVIDENCE, check_package, evidence
from flywheel.registry.predictor import PREPROCESSOR_FILE
from flywheel.serving.version.served import ChampionVersion

DAYS = 7
STEP = timedelta(hours=6)
MAX_DECISIONS = 50
DECISION = ("time", "action", "state", "outcome", "why")


def look(champion: ChampionVersion, traffic: FeedbackStore | None) -> Json:
    """Give the fields of `serving.messages.Live` from `days` on.

    Args:
        champion: The version in service.
        traffic: Store of the server's predictions; None: it keeps none.

    Raises:
        FlywheelError: What was kept cannot be read.
    """
    task, since = champion.task, datetime.now(UTC) - timedelta(days=DAYS)
    since = since.replace(minute=0, second=0, microsecond=0)
    check, why_not, counted = None, "The server keeps no predictions (record: off).", []
    if traffic is not None:
        counted = _counted(traffic, task, since)
        check, why_not = _check(traffic, champion, since)
    decisions = Journal(state_dir() / "loop" / f"{task}.jsonl").read()[-MAX_DECISIONS:]
    return {
        "days": DAYS,
        "check": check,
        "why_not": why_not,
        "volumes": counted,
        "champions": [asdict(entry) for entry in registry_log.read(task)],
        "loop": [{key: getattr(one, key) for key in DECISION} for one in decisions],
    }


def _counted(traffic: FeedbackStore, task: str, since: datetime) -> list[Json]:
    """Every step of the time, those without a prediction included."""
    found = {start: (made, said) for start, made, said in volumes(traffic, task, since, STEP)}
    steps = range((datetime.now(UTC) - since) // STEP + 1)
    starts = [since + step * STEP for step in steps]
    return [
        {"start": start.isoformat(), "predictions": made, "feedback": said}
        for start in starts
        for made, said in [found.get(start, (0, 0))]
    ]


def _check(traffic: Traffic, champion: ChampionVersion, since: datetime) -> tuple[Json | None, str]:
    """What the monitor finds, or why it cannot."""
    folder = Path(champion.folder)
    try:
        settings = load_settings(project_root(), champion.task)
        check_package(folder, champion.sums)
        preprocessor = load_preprocessor(folder / ARTIFACTS / PREPROCESSOR_FILE)
        reference = Reference.load(_reference_file(champion))
        service = InService(champion.task, champion.number, preprocessor, reference, evidence(folder, METRICS))
        return examine(service, read_window(traffic, champion.task, since, settings.max_rows), settings).to_json(), ""
    except FlywheelError as error:
        return None, str(error)


def _reference_file(champion: ChampionVersion) -> Path:
    """What the version was registered with, or else what `flywheel monitor` has made for it here."""
    held = Path(champion.folder) / EVIDENCE / FILE
    made = state_dir() / "monitor" / champion.task / f"reference-{champion.model_sha256[:16]}.safetensors"
    return made if made.is_file() and not held.is_file() else held

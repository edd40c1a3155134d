"""The monitor: what is in service is compared with what it was trained on, and a page, figures and alerts are made."""

from __future__ import annotations

import json
import logging
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from flywheel.project.errors import DataError, FlywheelError
from flywheel.project.whole import read_json, whole_file

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from rich.table import Table

    from flywheel.monitor.check import Check, InService
    from flywheel.monitor.reference import Reference
    from flywheel.monitor.settings import MonitorSettings
    from flywheel.monitor.window import Traffic
    from flywheel.registry.versions import Version

log = logging.getLogger("flywheel")

UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
PAGE, CHECK, LOG, METRICS = "report.html", "check.json", "checks.jsonl", "metrics.prom"
HEAD_TRAITS = 8


@dataclass(frozen=True)
class Watched:
    """What one look did: what it found, and the folder with the page and the figures."""

    check: Check
    folder: Path


def watch(task: str, *, since: str = "7d", last: int | None = None, traffic: Traffic | None = None) -> Watched:
    """Look at a task's traffic, and write page and figures.

    Args:
        task: A registered model.
        since: Period to look back, in the format of `period`.
        last: Maximum number of predictions; None: the one of `conf/monitor.yaml`.
        traffic: Store of the predictions; None: the feedback store.

    Raises:
        FlywheelError: There is no champion, no reference, or a setting is invalid.
    """
    from flywheel.monitor.check import examine
    from flywheel.monitor.settings import load_settings
    from flywheel.monitor.window import read_window
    from flywheel.project.params import project_root, state_dir
    from flywheel.project.tracking import prepare

    settings = load_settings(project_root(), task)
    start = datetime.now(UTC) - period(since)
    if last is not None and last < 1:
        raise FlywheelError("must be 1 or more", where="--last", fix="leave it out, or name a number")
    service = in_service(prepare(), task)
    window = read_window(traffic or open_traffic(), task, start, last or settings.max_rows)
    check = examine(service, window, settings)
    folder = state_dir() / "monitor" / task
    write_outputs(check, folder, settings)
    return Watched(check, folder)


def open_traffic() -> Traffic:
    """The feedback store that servers write to."""
    from flywheel.feedback.store import FeedbackStore

    return FeedbackStore()


def in_service(client: MlflowClient, task: str) -> InService:
    """The champion, with all that its traffic is compared with.

    Raises:
        RegistryError: There is no champion, or its files are damaged.
        DataError: It has no reference, and none can be made here.
    """
    from flywheel.monitor.check import InService
    from flywheel.preprocessor.task import load_preprocessor
    from flywheel.registry import evidence, package, versions
    from flywheel.registry.predictor import PREPROCESSOR_FILE

    version = versions.resolve(client, task, versions.CHAMPION)
    folder = versions.files_of(client, version)
    metrics = package.evidence(folder, evidence.METRICS)
    preprocessor = load_preprocessor(folder / package.ARTIFACTS / PREPROCESSOR_FILE)
    return InService(task, version.number, preprocessor, reference_of(version, folder), metrics)


def reference_of(version: Version, folder: Path) -> Reference:
    """A version's reference: what it was registered with, or for an older version, made now of its own data.

    Raises:
        DataError: There is none, and the data here are others.
    """
    from flywheel.monitor import reference
    from flywheel.project.params import state_dir
    from flywheel.registry.package import EVIDENCE

    held = folder / EVIDENCE / reference.FILE
    if held.is_file():
        return reference.Reference.load(held)
    kept = state_dir() / "monitor" / version.task / f"reference-{version.model_sha256[:16]}.safetensors"
    if not kept.is_file():
        made = _made_now(version, folder)
        with whole_file(kept) as part:
            made.save(part)
    return reference.Reference.load(kept)


def write_outputs(check: Check, folder: Path, settings: MonitorSettings) -> None:
    """Write the page, the figures, and one line of the log of checks."""
    from flywheel.monitor.metrics import write_metrics
    from flywheel.monitor.page import render_check

    found = check.to_json()
    with whole_file(folder / CHECK) as part:
        part.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    with whole_file(folder / PAGE) as part:
        part.write_text(render_check(check, settings, "traffic"), encoding="utf-8")
    write_metrics(check, folder / METRICS)
    quality = found["quality"]
    line = {key: found[key] for key in ("version", "num_rows", "alarm", "reasons", "since", "until")}
    line |= {"time": datetime.now(UTC).isoformat(timespec="seconds"), "metric": quality["metric"],
             "live": quality["live"], "tested": quality["tested"]}  # fmt: skip
    with (folder / LOG).open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(line, ensure_ascii=False) + "\n")


def alert(check: Check, url: str | None) -> bool | None:
    """Send an alert if the check found anything and an address is known.

    Args:
        check: Result of the check.
        url: URL to send it to; None: `FLYWHEEL_WEBHOOK_URL`, or nowhere.

    Returns:
        Whether it was taken; None where there was nothing to send, or no address.
    """
    from flywheel.monitor.settings import load_settings
    from flywheel.monitor.webhook import send, webhook_url
    from flywheel.project.params import project_root

    address = webhook_url(url)
    if address is None or not check.alarm:
        return None
    settings = load_settings(project_root(), check.task)
    message = {
        "task": check.task, "version": check.version, "model_sha256": check.model_sha256, "reasons": check.reasons,
        "text": f"{check.task}: {'; '.join(check.reasons)}", "since": check.since, "until": check.until,
        "num_rows": check.num_rows,
    }  # fmt: skip
    return send(address, message, seconds=settings.webhook_seconds, tries=settings.webhook_tries)


def period(words: str) -> timedelta:
    """Read `30m`, `12h`, `7d` or `2w`.

    Raises:
        FlywheelError: It is none of these.
    """
    found = re.fullmatch(r"(\d{1,6})([mhdw])", words.strip())
    if not found or not int(found[1]):
        raise FlywheelError(f"'{words}' is not a period", where="--since", fix="give 30m, 12h, 7d or 2w")
    return timedelta(**{UNITS[found[2]]: int(found[1])})


def table(check: Check) -> Table:
    """The traits that are farthest from the reference, for a terminal."""
    from rich.table import Table

    made = Table(title=f"{check.task}/{check.version}: {check.num_rows} predictions", title_justify="left")
    for column in ("of", "trait", "share of rows", "p (Holm)", "PSI", ""):
        made.add_column(column)
    for of, drift in (("inputs", check.inputs), ("answers", check.answers)):
        for shift in drift.shifts[:HEAD_TRAITS]:
            made.add_row(
                of, shift.name, f"{shift.distance.effect:.3f}", f"{shift.adjusted:.2g}", f"{shift.distance.psi:.3f}",
                "drifted" if shift.drifted else "", style="bold" if shift.drifted else None,
            )  # fmt: skip
        if not drift.enough:
            made.add_row(of, f"{drift.num_rows} rows are too few")
    quality = check.quality
    if quality.live is not None:
        tested = "" if quality.tested is None else f", {quality.tested.value:.3f} on the test set"
        live = quality.live
        made.caption = (
            f"{quality.metric} {live.value:.3f} ({live.low:.3f} to {live.high:.3f}) on {live.num_rows} rows"
            f"{tested}{'' if quality.enough else '; too few to judge'}"
        )
    return made


def _made_now(version: Version, folder: Path) -> Reference:
    from flywheel.monitor.making import make_reference
    from flywheel.project.digest import sha256_of
    from flywheel.project.instantiate import build
    from flywheel.project.kind import READER
    from flywheel.project.params import load_task, project_root
    from flywheel.registry.package import open_package
    from flywheel.registry.versions import PREPROCESSOR_TAG

    root = project_root()
    processed = root / "data/processed" / version.task
    fix = f"run `dvc repro register@{version.task}`, which registers a version with its reference"
    file = processed / "preprocessor.json"
    same = file.is_file() and sha256_of(file) == version.tags.get(PREPROCESSOR_TAG)
    if not same or read_json(processed / "meta.json").get("sha256", {}).get("train") != version.tags.get(
        "train_sha256"
    ):
        why = "has no reference, and the data here are not those it was trained on"
        raise DataError(str(version), None, why, fix=fix)
    reader = build(load_task(version.task).data.reader.read, READER, where="data.reader.read")
    splits = reader.read(root / "data/raw" / version.task)
    feedback = root / "data/feedback" / version.task
    return make_reference(open_package(folder, version.sums), splits, feedback, processed, version.model_sha256)

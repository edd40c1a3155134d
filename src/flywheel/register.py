"""The register stage: an exported model becomes a version of the registered model, and champion if the gate lets it."""

from __future__ import annotations

import json
import logging
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from flywheel.monitor import making, reference
from flywheel.project.config import TaskConfig
from flywheel.project.errors import DataError
from flywheel.project.stage import run_stage
from flywheel.project.types import Json
from flywheel.project.whole import read_json, whole_file
from flywheel.registry.places import Places
from flywheel.registry.variant.choice import FASTEST, FP32, SMALLEST, check, entry_of, judged, passing, served

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from flywheel.project.types import Splits
    from flywheel.registry.decision import Candidate, Decision
    from flywheel.registry.versions import Version
    from flywheel.report.base import Report

log = logging.getLogger("flywheel")

STAGES = ("download", "preprocess", "train", "evaluate", "export")


def register(task: TaskConfig) -> None:
    """Make the version unless it is there, let the gate decide, and write `decision.json` and `registered.json`.

    Raises:
        FlywheelError: An input is missing or damaged, or the gate's rules are invalid.
    """
    from flywheel.project.instantiate import build
    from flywheel.project.kind import READER, REPORT
    from flywheel.project.tracking import open_run, prepare
    from flywheel.registry import aliases, gate, versions
    from flywheel.registry.judging import Judging

    check(task.export)
    meta = read_json(Path("data/processed") / task.name / "meta.json")
    report: Report = build(task.metric.report, REPORT, where="metric.report", meta=meta)
    gate.check_rules(task.register, report)
    places = _places(task, meta)
    splits: Splits = build(task.data.reader.read, READER, where="data.reader.read").read(places.raw)
    candidate = _candidate(task, report, places, meta)
    client = prepare()
    with aliases.locked(task.name), open_run(task.name, candidate.model_sha256, client) as run_id:
        tags = lineage_tags(places, candidate, meta)
        version = versions.with_contents(client, task.name, tags)
        if version is None:
            version = _create(client, places, run_id, splits, tags)
            log.info("register: %s made%s", version, "" if version.variant == FP32 else f", of {version.variant}")
        else:
            log.info("register: %s holds these weights already; no second version is made", version)
        aliases.set_candidate(client, version)
        known = versions.versions_of(client, task.name)
        candidate = replace(
            candidate, num_judged=versions.num_judged(known, candidate.test_sha256, candidate.model_sha256)
        )
        decision = Judging(client, task.register, report, candidate, version, places, splits).decide()
        _tell_run(client, run_id, version, decision)
        described = f"{task.data.title}; model {task.model.name}, {version.variant}. {decision.why}"
        client.update_model_version(task.name, str(version.number), described)
    write_json(places.artifacts / "decision.json", decision.to_json())
    # The same for every model, so that another commit's checkout finds it as it was left; see ARCHITECTURE.md.
    write_json(places.artifacts / "registered.json", {"registered_model": task.name})
    log.log(logging.INFO if decision.worse_than is None else logging.WARNING, "register: %s", decision.why)


def _places(task: TaskConfig, meta: Json) -> Places:
    """The paths, with the variant that the task serves."""
    places = Places(task.name)
    parity = read_json(places.export / "parity.json")
    chosen = served(parity, task.export.serve, lambda name: _latency_ms(replace(places, variant=name), meta))
    if task.export.serve not in (chosen, SMALLEST, FASTEST):
        why = parity.get("variants", {}).get(task.export.serve, {}).get("why", "was not exported")
        log.info("register: %s is not served, fp32 is: %s", task.export.serve, why)
    elif task.export.serve != FP32:
        log.info("register: serves %s", chosen)
    return replace(places, variant=chosen)


def _tell_run(client: MlflowClient, run_id: str, version: Version, decision: Decision) -> None:
    """Let the training's run say what became of it."""
    from flywheel.project.tracked_run import TrackedRun

    run = TrackedRun(client, run_id)
    tags = {"version": version, "promoted": decision.promoted, "decision": decision.why}
    run.set_tags({f"flywheel.{key}": value for key, value in tags.items()})
    run.log_text(json.dumps(decision.to_json(), indent=1, sort_keys=True) + "\n", "decision.json")


def _candidate(task: TaskConfig, report: Report, places: Places, meta: Json) -> Candidate:
    """What the export stage made, with this machine's latency."""
    from flywheel.registry import evidence
    from flywheel.registry.better_baseline import better_baseline
    from flywheel.registry.decision import Candidate
    from flywheel.report.examples import read_groups

    parity, metrics = read_json(places.export / "parity.json"), read_json(places.artifacts / "evaluation.json")
    if metrics.get("model_sha256") != parity["model_sha256"]:
        raise DataError(places.artifacts / "evaluation.json", None, "is of another model", fix="run `dvc repro`")
    variant = judged(parity, task.export.serve, 1 if report.kinds[report.headline].higher_is_better else -1)
    scores = evidence.read_scores(replace(places, variant=variant).scores, places.processed / evidence.META)
    sizes = [entry_of(parity, name)["num_bytes"] for name in passing(parity)]
    test = places.processed / "test.safetensors"
    return Candidate(
        model_sha256=parity["model_sha256"],
        target=evidence.read_target(test, scores.row),
        scores=scores.scores,
        test_sha256=scores.test_sha256,
        num_bytes=max(sizes) if task.export.serve == FASTEST else entry_of(parity, variant)["num_bytes"],
        latency_ms=_latency_ms(places, meta) if task.register.max_latency_ms is not None else 0.0,
        variant=variant,
        train_sha256=str(meta["sha256"]["train"]),
        groups=read_groups(test),
        worse_than=better_baseline(metrics, report, Path("conf/model")),
        is_trial=bool(read_json(places.artifacts / "model/model.json").get("fast_dev_run")),
    )


def _create(client: MlflowClient, places: Places, run_id: str, splits: Splits, tags: dict[str, str]) -> Version:
    from flywheel.registry import evidence, versions
    from flywheel.registry.package import Contents
    from flywheel.registry.predictor import Predictor

    predictor = Predictor.load(places.model, places.processed / "preprocessor.json")
    model_sha256, feedback = tags[versions.MODEL_TAG], places.processed / evidence.FEEDBACK
    made = making.make_reference(predictor, splits, places.feedback, places.processed, model_sha256)
    with tempfile.TemporaryDirectory() as temporary:
        made.save(Path(temporary) / reference.FILE)
        contents = Contents(
            model=places.model,
            preprocessor=places.processed / "preprocessor.json",
            example=evidence.raw_example(splits, predictor.preprocessor.inputs),
            evidence={
                evidence.SCORES: places.scores,
                evidence.META: places.processed / evidence.META,
                evidence.METRICS: places.artifacts / "evaluation.json",
                **({evidence.FEEDBACK: feedback} if feedback.is_file() else {}),
                reference.FILE: Path(temporary) / reference.FILE,
            },
        )
        return versions.create(client, places.task, run_id, contents, tags)


def _latency_ms(places: Places, meta: Json) -> float:
    """The median of one request: as export measured it, or measured now where that was another model or machine."""
    from flywheel.project.digest import sha256_of
    from flywheel.registry.latency import measure_latency

    file = places.artifacts / "latency.json"
    known: Json = read_json(file).get(places.variant, {}) if file.is_file() else {}
    if known.get("onnx_sha256") != sha256_of(places.model):
        known = measure_latency(places.model, meta["inputs"])
    return float(known["batch_1"]["p50_ms"])


def lineage_tags(places: Places, candidate: Candidate, meta: Json) -> dict[str, str]:
    """Where the version comes from, as tags: weights, code, data, source, and `dvc.lock`'s hashes of what was read."""
    from flywheel.project.digest import sha256_of
    from flywheel.project.lineage import git_commit, git_diff, lock_hashes
    from flywheel.registry.evidence import FEEDBACK
    from flywheel.registry.versions import MODEL_TAG, ONNX_TAG, PREPROCESSOR_TAG, VARIANT_TAG

    root = Path.cwd()
    commit, source = git_commit(root), read_json(places.raw / "source.json")
    locked = {path: md5 for stage in STAGES for path, md5 in lock_hashes(root, f"{stage}@{places.task}").items()}
    data = {f"{split}_sha256": str(digest) for split, digest in meta["sha256"].items()}
    if (places.processed / FEEDBACK).is_file():
        record = read_json(places.processed / FEEDBACK)
        data |= {"feedback_rows": str(record["used"]), "feedback_sha256": str(record["sha256"])}
    entry = read_json(places.export / "parity.json").get("variants", {}).get(places.variant, {})
    weights = {"weights_sha256": entry["weights_sha256"]} if "weights_sha256" in entry else {}
    return {
        MODEL_TAG: candidate.model_sha256,
        PREPROCESSOR_TAG: sha256_of(places.processed / "preprocessor.json"),
        ONNX_TAG: sha256_of(places.model),
        VARIANT_TAG: places.variant,
        "num_bytes": str(places.model.stat().st_size),
        "git_commit": commit or "none",
        "git_dirty": str(bool(git_diff(root))).lower() if commit else "unknown",
        "source_uri": str(source.get("uri", "")),
        "source_sha256": str(source.get("digest", "")),
        "dvc_lock": json.dumps(locked, sort_keys=True),
        **data,
        **weights,
    }


def write_json(file: Path, content: Json) -> None:
    """Write JSON, whole or not at all."""
    with whole_file(file) as part:
        part.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    sys.exit(run_stage("register", register))

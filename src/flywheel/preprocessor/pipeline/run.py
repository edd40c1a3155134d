"""From raw files to a processed data set in three passes: clean and decide, fit, transform and write.

Memory does not grow with the data, save for 21 bytes a row (see `survey`) and the sorting of fingerprints; neither
the number of rows in a chunk nor the engine that does the work, nor anything else but the data and the settings,
changes a byte of the result.
"""

from __future__ import annotations

import json
import logging
from contextlib import AbstractContextManager, ExitStack, nullcontext
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd

from flywheel.preprocessor.base import GROUP, WEIGHT, Preprocessor
from flywheel.preprocessor.pipeline.engine import Engine, Frames, LocalEngine, Pass, RawData
from flywheel.preprocessor.pipeline.feedback import check_manifest, feedback_record
from flywheel.preprocessor.pipeline.pictures import SAMPLES_PER_CLASS, draw_classes, draw_samples
from flywheel.preprocessor.pipeline.profile import Ranges, class_counts, make_profile, remarks, summary
from flywheel.preprocessor.pipeline.splitter import PARTS, TRAIN, SplitPlan, make_plan
from flywheel.preprocessor.pipeline.survey import UNUSABLE, Survey, Vocabulary, check_dropped, survey
from flywheel.preprocessor.pipeline.transformed import Transformed, transformed
from flywheel.preprocessor.pipeline.writer import SafetensorsWriter
from flywheel.preprocessor.row_weights import described, row_weights, weighted_parts
from flywheel.preprocessor.target import Target
from flywheel.preprocessor.task import TaskPreprocessor
from flywheel.project.config import PreprocessConfig, TaskConfig
from flywheel.project.digest import sha256_of
from flywheel.project.instantiate import build
from flywheel.project.kind import PREPROCESSOR, READER, TARGET
from flywheel.project.types import SPLITS, Json, Preview, Split
from flywheel.project.whole import whole_folder

log = logging.getLogger("flywheel")

FORMAT = 1


def preprocess(task: TaskConfig, raw_dir: Path, feedback_dir: Path, target: Path) -> Json:
    """Make the processed data set of a task.

    Args:
        task: The task's settings, of which `data.reader`, `preprocess` and `name` are used.
        raw_dir: Folder from the download stage.
        feedback_dir: Parquet files with corrected rows; it need not exist.
        target: The folder to make; what it held before is replaced when everything has succeeded.

    Returns:
        What `meta.json` holds.

    Raises:
        DataError: Files are missing or broken, too many rows are bad, or a split or class is too small.
        ConfigError: A setting is out of range.
    """
    settings = task.preprocess
    where = f"tasks.{task.name}"
    reader = build(task.data.reader.read, READER, where=f"{where}.data.reader.read")
    inputs = cast(Preprocessor, build(settings.inputs, PREPROCESSOR, where=f"{where}.preprocess.inputs"))
    labels = cast(Target, build(settings.target, TARGET, where=f"{where}.preprocess.target"))
    raw = RawData(reader, raw_dir, feedback_dir)
    own = raw.own()
    check_manifest(feedback_dir)
    splits = raw.with_feedback(own)
    num_own = own["train"].num_rows

    with engine_for(settings, raw, splits) as engine:
        run = _Run(settings, TaskPreprocessor(inputs, labels, getattr(reader, "format", None)), engine)
        run.decide(num_own)
        run.fit()
        with whole_folder(target) as folder:
            meta = run.write(folder, task.name)
            run.describe(folder, task.name, meta, feedback_dir, splits["train"].num_rows - num_own)
    return meta


def _labels(frame: pd.DataFrame, _: Any) -> pd.Series:
    return frame["label"]


class _Run:
    """One preprocessing: what the passes hand to each other."""

    def __init__(self, settings: PreprocessConfig, preprocessor: TaskPreprocessor, engine: Engine) -> None:
        self.settings, self.preprocessor, self.engine = settings, preprocessor, engine
        self.inputs, self.target = preprocessor.inputs, preprocessor.target
        self.words = Vocabulary()
        self.surveys: dict[str, Survey] = {}
        self.plan = SplitPlan()
        self.weights: dict[str, Any] = {}
        self.weighted: list[str] = []
        self.ranges = Ranges()
        self.samples: dict[int, list[Preview]] = {}
        self.statistics: dict[str, dict[str, Any]] = {}

    def decide(self, num_own: int) -> None:
        """Pass 1: clean every split, and decide where each row goes."""
        for name in SPLITS:
            if name in self.engine.splits:
                found = survey(name, self.engine, self.inputs, self.target, self.words, self.settings.chunk_rows)
                check_dropped(found, self.settings.max_dropped)
                self.surveys[name] = found
        self.plan = make_plan(self.surveys, num_own, self.words.names, self.settings)
        by_copies = self.settings.overlap == "weight"
        self.weights = row_weights(self.surveys, self.plan, num_own, by_copies=by_copies)
        self.weighted = weighted_parts(self.surveys, by_copies=by_copies)

    def fit(self) -> None:
        """Pass 2: learn from the rows that go to train."""
        if self.target.stratified:
            held = np.unique(self.surveys["train"].codes[self.plan.parts["train"] == TRAIN])
            self.target.fit([pd.Series([self.words.names[code] for code in held], dtype=object)])
        else:
            self.target.fit(self.engine.each(self._pass("train", "fit target", only=TRAIN), _labels))
        self.inputs.fit(Frames(self.engine, self._pass("train", "fit", only=TRAIN)))

    def write(self, folder: Path, task: str) -> Json:
        """Pass 3: transform every row that is used, and write it to its split's file."""
        num_rows = {
            name: sum(int((parts == code).sum()) for parts in self.plan.parts.values()) for name, code in PARTS.items()
        }
        work = partial(transformed, self.preprocessor)
        writers: dict[str, SafetensorsWriter] = {}
        with ExitStack() as open_files:
            for source in self.surveys:
                for made in self.engine.each(self._pass(source, f"write {source}"), work):
                    arrays = made.arrays
                    if not writers:
                        for name, number in num_rows.items():
                            like = self._stored(name, arrays, np.empty(0, np.int64))
                            writer = SafetensorsWriter(folder / f"{name}.safetensors", number, like)
                            writers[name] = open_files.enter_context(writer)
                    for name, code in PARTS.items():
                        chosen = made.parts == code
                        if chosen.any():
                            stored = self._stored(name, arrays, made.rows)
                            writers[name].append({key: array[chosen] for key, array in stored.items()})
                    self._count(made)
                    self._collect(made.inputs, self.surveys[source].codes[made.rows], made.parts)
        self.preprocessor.save(folder / "preprocessor.json")
        meta = {
            "format": FORMAT,
            "task": task,
            **self.inputs.meta(),
            **self.target.meta(),
            **({"class_counts": list(self._counts()["train"].values())} if self.target.stratified else {}),
            "num_rows": num_rows,
            **self._num_test_groups(),
            **({"weighted": self.weighted} if self.weighted else {}),
            "sha256": {name: sha256_of(folder / f"{name}.safetensors") for name in SPLITS},
        }
        _write_json(folder / "meta.json", meta)
        return meta

    def describe(self, folder: Path, task: str, meta: Json, feedback_dir: Path, num_feedback: int) -> None:
        """Write the profile, the pictures and, where there is any, the feedback in train; log a summary."""
        counts = self._counts()
        counted = {
            part: self.inputs.describe({key: _plain(value) for key, value in held.items()})
            for part, held in self.statistics.items()
        }
        for part in self.weighted:
            chosen = self.plan.parts[self._source(part)] == PARTS[part]  # type: ignore[index]
            counted.setdefault(part, {})["weight"] = described(self.weights[self._source(part)][chosen])
        profile = make_profile(
            task, self.surveys, self.plan, meta, counts, self.ranges, num_feedback, counted, self.inputs.facts()
        )
        if num_feedback:
            used = (self.plan.parts["train"][-num_feedback:] == TRAIN).tolist()
            record = feedback_record(feedback_dir, used)
            profile["feedback"]["sha256"] = record["sha256"]
            _write_json(folder / "feedback.json", record)
        _write_json(folder / "profile.json", profile)
        names = self._class_names()
        drawn = {name: self.samples[names.index(name)] for name in counts["train"]}
        draw_samples(folder / "samples.png", drawn, f"{task}: examples from train")
        if self.target.stratified:
            draw_classes(folder / "classes.png", counts, f"{task}: class balance")
        log.info("%s", summary(profile))
        for remark in remarks(profile):
            log.warning("%s: %s", task, remark)

    def _source(self, part: str) -> str:
        """The split that a part's rows are from."""
        return part if part in self.surveys else "train"

    def _stored(self, part: str, arrays: dict[str, Any], rows: Any) -> dict[str, Any]:
        """What a part's file holds of some rows: also what no model takes, test's groups for intervals, and weights."""
        source, more = self._source(part), {}
        if part == "test" and (groups := self.surveys[source].groups) is not None:
            more[GROUP] = groups[rows]
        if part in self.weighted:
            more[WEIGHT] = self.weights[source][rows]
        return {**arrays, **more}

    def _num_test_groups(self) -> Json:
        """`num_groups` of `meta.json`; empty where the reader gives no groups."""
        source = self._source("test")
        groups, parts = self.surveys[source].groups, self.plan.parts[source]
        return {} if groups is None else {"num_groups": {"test": len(np.unique(groups[parts == PARTS["test"]]))}}

    def _pass(self, source: str, what: str, only: int | None = None) -> Pass:
        """Go through a split again: its used rows, or those of one part."""
        parts = self.plan.parts[source]
        chosen = parts if only is None else np.where(parts == only, parts, np.int8(UNUSABLE))
        return Pass(source, what, self.settings.chunk_rows, chosen)

    def _count(self, made: Transformed) -> None:
        """Take a chunk into the figures of the profile."""
        self.ranges.merge(made.ranges)
        for part, counted in made.statistics.items():
            held = self.statistics.setdefault(part, {})
            for key, value in counted.items():
                held[key] = held[key] + value if key in held else value

    def _collect(self, inputs: dict[str, Any], codes: Any, parts: Any) -> None:
        """Keep previews of the first rows of each class in train."""
        for code in np.unique(codes[parts == TRAIN]).tolist():
            held = self.samples.setdefault(code, [])
            missing = SAMPLES_PER_CLASS - len(held)
            rows = np.flatnonzero((codes == code) & (parts == TRAIN))[:missing]
            held.extend(self.inputs.preview(inputs, row) for row in rows.tolist())

    def _class_names(self) -> list[str]:
        return self.words.names if self.target.stratified else [""]

    def _counts(self) -> dict[str, dict[str, int]]:
        """Rows of each class in each split, in the order of the classes."""
        names = self._class_names()
        order = self.target.meta().get("classes", names)
        counted = {part: class_counts(self.surveys, self.plan, part, len(names)).tolist() for part in SPLITS}
        return {part: {name: counted[part][names.index(name)] for name in order} for part in SPLITS}


def _plain(value: Any) -> Any:
    """Make plain JSON of a number or an array."""
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value


def _write_json(path: Path, value: Json) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def engine_for(settings: PreprocessConfig, raw: RawData, splits: dict[str, Split]) -> AbstractContextManager[Engine]:
    """Give the engine that the settings name; what it starts ends with the block.

    Raises:
        ConfigError: The engine cannot be had.
    """
    if settings.engine == "local":
        return nullcontext(LocalEngine(splits))
    from flywheel.preprocessor.pipeline.engine_ray import ray_engine

    return ray_engine(settings.ray_address, raw, splits)

"""A task's own file and its own predictions fit each other, however the file is written and its columns are called."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file

from flywheel.init_task.guess import Wanted
from flywheel.init_task.verb import init_task
from flywheel.preprocessor.pipeline.run import preprocess
from flywheel.preprocessor.task import TaskPreprocessor, load_preprocessor
from flywheel.project.params import load_task
from flywheel.registry.request import frame_of
from flywheel.serving.request.rows import RowReader

AWKWARD = (
    "Customer (CRM), ID", "Sale Price ($) [2020]: net", "a.b", "x/y", "${oc.env:HOME}", 'it\'s "q"', "per%cent #1",
    "two\nlines", " lead", "🎈", "k=v;w|z", "x" * 300, "{0}", "instances", "null", "label", "file",
)  # fmt: skip


def table(names: tuple[str, ...]) -> pd.DataFrame:
    generator = np.random.default_rng(0)
    classes = generator.integers(0, 2, 120)
    frame = pd.DataFrame({name: generator.normal(classes, 1).round(3) for name in names})
    frame["const (=)"] = "k"
    frame["Ort"] = generator.choice(["Ülm", "a,b", "${x}"], 120)
    return frame.assign(**{"the [target], ${all}": np.array(["one (1)", "${2}"])[classes]})


def written(name: str, names: tuple[str, ...], write: Callable[[pd.DataFrame, Path], Any]) -> Any:
    return pytest.param(name, names, write, id=f"{name} with {names[0]}")


RESERVED = ("file", "row", "label", "group", "error", "sample_weight", "label_")


@pytest.mark.parametrize(
    ("name", "names", "write"),
    [
        written("own.csv", RESERVED, lambda frame, path: frame.to_csv(path, index=False)),
        written("own.parquet", RESERVED, lambda frame, path: frame.to_parquet(path)),
        written("own.jsonl", RESERVED, lambda frame, path: frame.to_json(path, orient="records", lines=True)),
        written("own.csv", AWKWARD, lambda frame, path: frame.to_csv(path, index=False)),
        written("own.parquet", AWKWARD, lambda frame, path: frame.to_parquet(path)),
        written("own.txt", ("a", "row"), lambda f, path: f.to_csv(path, index=False, sep=";", encoding="latin-1")),
        written("own.parquet", ("a", "b"), lambda f, path: f.set_index("a").to_parquet(path)),
    ],
)
def test_every_door_takes_the_rows_of_the_file(
    project: Path, with_tasks: Callable[..., None], name: str, names: tuple[str, ...], write: Callable[..., Any]
) -> None:
    with_tasks("digits")
    path = project / "data" / name
    path.parent.mkdir(exist_ok=True)
    frame = table(names)
    write(frame, path)
    init_task("own", path, wanted=Wanted(target="the [target], ${all}"))
    preprocessor, processed = made(project, path)
    for told in (
        preprocessor.read_requests([path]),
        frame_of(frame.to_dict("records"), preprocessor.inputs.schema(), preprocessor.aliases),
        through_http(preprocessor, frame),
    ):
        arrays = preprocessor.transform(told)
        for key, wanted in processed.items():
            rows = np.unique(arrays[key], axis=0)
            assert np.array_equal(rows, np.unique(wanted, axis=0))
    assert preprocessor.read_requests([path])["row"].tolist() == list(range(120))


def test_a_file_with_weights_is_predicted_from_as_it_is(project: Path, with_tasks: Callable[..., None]) -> None:
    with_tasks("digits")
    frame = table(("a", "b")).assign(sample_weight=np.arange(120) % 8 + 1)
    path = project / "data/own.csv"
    path.parent.mkdir(exist_ok=True)
    frame.to_csv(path, index=False)
    init_task("own", path, wanted=Wanted(target="the [target], ${all}", weight="sample_weight"))
    preprocessor, processed = made(project, path)
    train = load_file(project / "processed/train.safetensors")
    assert train["weight"].tolist() == frame["sample_weight"][train["row"]].tolist()
    assert "sample_weight" not in preprocessor.inputs.schema()["properties"]
    for told in (preprocessor.read_requests([path]), through_http(preprocessor, frame)):
        arrays = preprocessor.transform(told)
        for key in processed.keys() - {"weight"}:
            assert np.array_equal(np.unique(arrays[key], axis=0), np.unique(processed[key], axis=0))


def made(project: Path, path: Path) -> tuple[TaskPreprocessor, dict[str, np.ndarray[Any, Any]]]:
    """The task's preprocessor, and what preprocess made of the file's rows."""
    raw = project / "data/raw/own"
    raw.mkdir(parents=True)
    shutil.copy(path, raw)
    preprocess(load_task("own", project / "params.yaml"), raw, project / "data/feedback/own", project / "processed")
    parts = [load_file(project / f"processed/{part}.safetensors") for part in ("train", "validation", "test")]
    inputs = {key: np.concatenate([part[key] for part in parts]) for key in parts[0] if key not in ("row", "target")}
    return load_preprocessor(project / "processed/preprocessor.json"), inputs


def through_http(preprocessor: TaskPreprocessor, frame: pd.DataFrame) -> pd.DataFrame:
    reader = RowReader(preprocessor.inputs.schema(), 1000, preprocessor.aliases)
    inputs = {*reader.names, *preprocessor.aliases}
    rows = frame[[name for name in frame.columns if name in inputs]].to_dict("records")
    return reader.frame([row for each in rows for row in reader.rows(each)])

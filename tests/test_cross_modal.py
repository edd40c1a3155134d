"""Two modalities in one network by configuration alone: pictures and a table, from a raw file to ONNX answers."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from flywheel.model.network import build_network, load_network, save_network
from flywheel.preprocessor.pipeline.run import preprocess
from flywheel.project.compose import compose_task
from flywheel.project.config import ReaderConfig, TaskConfig
from flywheel.project.params import task_from
from flywheel.registry.onnx_export import export_onnx
from flywheel.registry.predictor import Predictor

ROWS = 160
INPUTS = {
    "_target_": "flywheel.modality.joint.data.preprocessor.JointPreprocessor",
    "columns": {"photo": ["image"]},
    "parts": {
        "photo": {"_target_": "flywheel.modality.image.data.preprocessor.ImagePreprocessor"},
        "facts": {"_target_": "flywheel.modality.tabular.data.preprocessor.TabularPreprocessor"},
    },
}
NET = {
    "_target_": "flywheel.model.joint.Joint",
    "width": 8,
    "num_outputs": "meta.num_outputs",
    "hidden": [8],
    "parts": {
        "photo": {"_target_": "flywheel.model.cnn.CNN", "num_channels": "meta.photo_num_channels", "num_outputs": 8,
                  "widths": [8]},
        "facts": {"_target_": "flywheel.model.mlp_tabular.MLPTabular", "num_numeric": "meta.facts_num_numeric",
                  "cardinalities": "meta.facts_cardinalities", "num_outputs": 8, "hidden": [16], "dropout": 0.0},
    },
}  # fmt: skip


@pytest.fixture
def task(root: Path) -> TaskConfig:
    base = task_from(compose_task(root, ["task=digits"]), "")
    read = {"_target_": "flywheel.reader.table.TableReader", "path": "rows.parquet", "label_column": "label"}
    target = {"_target_": "flywheel.preprocessor.target.ClassTarget"}
    settings = replace(base.preprocess, inputs=INPUTS, target=target)
    return replace(base, name="both", data=replace(base.data, reader=ReaderConfig(read)), preprocess=settings)


def table(rows: int = ROWS, seed: int = 0) -> pd.DataFrame:
    """The label is whether the picture is bright, turned round for one of two colours: neither modality tells alone."""
    random = np.random.default_rng(seed)
    bright, colour = random.integers(0, 2, rows), random.choice(["red", "blue"], rows)
    images = random.integers(0, 100, (rows, 8, 8)) + 150 * bright[:, None, None]
    label = np.where((colour == "red") ^ (bright == 1), "yes", "no")
    weight = random.normal(size=rows).round(3)
    return pd.DataFrame({"image": [png(image) for image in images], "colour": colour, "weight": weight, "label": label})


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def png(pixels: np.ndarray[Any, Any]) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(stream, "PNG")
    return stream.getvalue()


def train(folder: Path, meta: dict[str, Any], net: dict[str, Any]) -> float:
    """Train for some steps, save to `folder`; accuracy on the test rows."""
    torch.manual_seed(0)
    network = build_network(net, meta)
    data = load_file(folder.parent / "processed/train.safetensors")
    inputs = {name: data[name] for name in meta["inputs"]}
    optimizer = torch.optim.Adam(network.parameters(), 0.02)
    for _ in range(150):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(network(**inputs), data["target"]).backward()
        optimizer.step()
    folder.mkdir()
    link = {"_target_": "torch.nn.Softmax", "dim": -1}
    save_network(folder, network, {"task": "both", "net": net, "link": link, "meta": meta})
    test = load_file(folder.parent / "processed/test.safetensors")
    scores = load_network(folder).predict({name: test[name] for name in meta["inputs"]})
    return float((scores.argmax(1) == test["target"]).float().mean())


@pytest.mark.slow
def test_a_network_over_two_modalities_learns_what_neither_tells_alone(task: TaskConfig, tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    table().to_parquet(tmp_path / "raw/rows.parquet")
    meta = preprocess(task, tmp_path / "raw", tmp_path / "feedback", tmp_path / "processed")
    assert list(meta["inputs"]) == ["photo_image", "facts_numeric", "facts_categories"]
    assert meta["num_rows"]["test"] == ROWS // 5
    preprocess(task, tmp_path / "raw", tmp_path / "feedback", tmp_path / "again")
    assert contents(tmp_path / "again") == contents(tmp_path / "processed")
    in_chunks = replace(task, preprocess=replace(task.preprocess, chunk_rows=7))
    preprocess(in_chunks, tmp_path / "raw", tmp_path / "feedback", tmp_path / "chunks")
    assert contents(tmp_path / "chunks") == contents(tmp_path / "processed")
    assert train(tmp_path / "model", meta, NET) > 0.9

    export_onnx(load_network(tmp_path / "model"), tmp_path / "model.onnx", opset=20)
    predictor = Predictor.load(tmp_path / "model.onnx", tmp_path / "processed/preprocessor.json")
    new = table(40, seed=1)
    new.to_parquet(tmp_path / "new.parquet")
    requests = predictor.preprocessor.inputs.read_requests([tmp_path / "new.parquet"])
    answers = predictor.predict(requests)
    assert (answers["label"] == new["label"]).mean() > 0.85
    one = predictor.predict(pd.DataFrame([{"weight": 0.5, "colour": "red", "image": new["image"].iloc[0]}]))
    assert set(one.columns) == {"label", "probability", "probability_no", "probability_yes"}


@pytest.mark.parametrize("part", ["photo", "facts"])
@pytest.mark.slow
def test_one_modality_alone_cannot_tell(task: TaskConfig, tmp_path: Path, part: str) -> None:
    (tmp_path / "raw").mkdir()
    columns = ["image", "label"] if part == "photo" else ["colour", "weight", "label"]
    table()[columns].to_parquet(tmp_path / "raw/rows.parquet")
    inputs = {**INPUTS, "parts": {part: INPUTS["parts"][part]}, "columns": None}  # type: ignore[index]
    task = replace(task, preprocess=replace(task.preprocess, inputs=inputs))
    meta = preprocess(task, tmp_path / "raw", tmp_path / "feedback", tmp_path / "processed")
    net = {**NET, "parts": {part: NET["parts"][part]}}  # type: ignore[index]
    assert train(tmp_path / "model", meta, net) < 0.75
    assert json.loads((tmp_path / "processed/meta.json").read_text())["num_outputs"] == 2

"""No skew: each modality's raw test rows, through the server, give the export stage's scores bit by bit.

Digits stand for pictures in `test_app.py`; here are texts, recordings, tables and interactions, from the fixtures.
"""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file
from starlette.testclient import TestClient

from flywheel.serving.version.served import ChampionVersion

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("skew")]
SMALLER = {"tweets": {"buckets": 1024, "character_buckets": 1024}}
Array = np.ndarray[Any, Any]


def build_champion(task_name: str, root: Path) -> tuple[ChampionVersion, pd.DataFrame, Array]:
    """Preprocess a task's fixture and export an untrained network of it, in the current folder.

    Returns:
        The version, its raw test rows, and the exported model's scores of them.
    """
    import torch

    from flywheel.export import export
    from flywheel.model.network import build_network, save_network
    from flywheel.preprocessor.pipeline.run import preprocess
    from flywheel.project.instantiate import build
    from flywheel.project.kind import READER
    from flywheel.project.params import load_task
    from flywheel.source.fetch import obtain

    task = load_task(task_name, root / "params.yaml")
    raw, processed = Path("data/raw") / task_name, Path("data/processed") / task_name
    raw.mkdir(parents=True)
    files = dict.fromkeys(task.data.download.files, type(next(iter(task.data.download.files.values())))())
    obtain(replace(task.data, download=replace(task.data.download, files=files)), raw)
    meta = preprocess(task, raw, Path("none"), processed)
    torch.manual_seed(0)
    node = {**task.model.net, **SMALLER.get(task_name, {})}
    description = {"task": task_name, "net": node, "link": task.loss.link, "meta": meta}
    artifacts = Path("artifacts") / task_name
    (artifacts / "model").mkdir(parents=True)
    network = build_network(node, meta)
    for value in network.state_dict().values():
        if value.is_floating_point() and value.ndim and not value.any():
            value.normal_()  # an estimator would fill them in: all zeros would answer every row alike
    sha256 = save_network(artifacts / "model", network, description)
    export(task)
    stored = load_file(artifacts / "export/scores.safetensors")
    splits = build(task.data.reader.read, READER, where="read").read(raw)
    frame = pd.concat((splits.get("test") or splits["train"]).chunks(1000)).loc[stored["row"]]
    folder = Path("version") / task_name
    for source, name in (
        (artifacts / "export/fp32.onnx", "artifacts/model.onnx"),
        (processed / "preprocessor.json", "artifacts/preprocessor.json"),
        (processed / "meta.json", "evidence/meta.json"),
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, folder / name)
    (folder / "evidence/metrics.json").write_text("{}")
    return registered(task_name, sha256, folder), frame, stored["scores"]


def registered(task: str, model_sha256: str, folder: Path) -> ChampionVersion:
    """A version whose list of files and sums are those of its folder, as it stands."""
    from flywheel.project.digest import sha256_of
    from flywheel.registry.package import CHECKSUMS, MODEL, PREPROCESSOR, checksums

    (folder / CHECKSUMS).write_text(checksums(folder))
    sums = {name: sha256_of(folder / name) for name in (CHECKSUMS, MODEL, PREPROCESSOR)}
    return ChampionVersion(task, 1, model_sha256, str(folder), sums)


def as_json(value: Any) -> Any:
    """A raw value as a client would send it."""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, Path):
        return as_json(value.read_bytes())
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    return None if isinstance(value, float) and np.isnan(value) else value


def scores_of(prediction: dict[str, Any], meta: dict[str, Any]) -> list[float]:
    """A prediction as a row of scores: of classes, or of a catalogue's items, where those ruled out have none."""
    if "classes" in meta:
        return [prediction[f"probability_{name}"] for name in meta["classes"]]
    given = dict(zip(prediction["items"], prediction["scores"], strict=True))
    return [given.get(item, 0.0) for item in meta["items"]]


@pytest.mark.parametrize("task", ["tweets", "spoken_digits", "breast_cancer", "movielens"])
def test_every_test_row_is_answered_with_the_very_scores_of_the_export_stage(
    task: str, root: Path, project: Path, client_of: Callable[..., TestClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLYWHEEL_MIRROR", str(root / "tests/fixtures"))
    champion, frame, scores = build_champion(task, root)
    client = client_of(champion)
    page = client.get(f"/v1/tasks/{task}").json()
    meta = json.loads((Path(champion.folder) / "evidence/meta.json").read_text())
    rows = [
        {name: as_json(row[name]) for name in page["schema"]["properties"] if name in frame.columns}
        for row in frame.to_dict("records")
    ]
    if "items" in meta:
        rows = [{**row, "k": len(meta["items"])} for row in rows]
    wanted = scores.astype(np.float64).tolist()
    url = f"/v1/tasks/{task}/predict"
    answer = client.post(url, json={"instances": rows})
    assert answer.status_code == 200, answer.text
    assert [scores_of(one, meta) for one in answer.json()["predictions"]] == wanted
    for start in range(0, len(rows), 3):  # a batch of three, and rows alone
        some = rows[start : start + 3] if start % 2 else rows[start : start + 1]
        got = [scores_of(one, meta) for one in client.post(url, json={"instances": some}).json()["predictions"]]
        assert got == wanted[start : start + len(some)]

"""Servers of one model, each in a process of its own: `python -m bench.serving_peers NAME FOLDER PORT`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel, Field, create_model

MEAN, STD = 72.9, 90.0


class Pixels(BaseModel):
    """What a handler written in ten minutes takes."""

    pixels: list[float]


def with_torch(folder: Path) -> FastAPI:
    """A plain handler over PyTorch."""
    import torch

    from flywheel.model.network import load_network

    torch.set_num_threads(1)
    network = load_network(folder / "model")
    app = FastAPI()

    @app.post("/predict")
    def predict(row: Pixels) -> dict[str, Any]:
        image = torch.tensor(row.pixels, dtype=torch.uint8).reshape(1, 1, 28, 28)
        scores = network.predict({"image": image})[0]
        return {"label": int(scores.argmax()), "probabilities": scores.tolist()}

    return app


def with_onnx(folder: Path) -> FastAPI:
    """A plain handler over ONNX Runtime."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"])
    app = FastAPI()

    @app.post("/predict")
    def predict(row: Pixels) -> dict[str, Any]:
        image = np.array(row.pixels, np.uint8).reshape(1, 1, 28, 28)
        scores = session.run(["scores"], {"image": image})[0][0]
        return {"label": int(scores.argmax()), "probabilities": scores.tolist()}

    return app


def row_model(example: dict[str, Any]) -> type[BaseModel]:
    """What a person would write for a task's row, by a row of it: numbers, texts, lists."""

    def kind(value: Any) -> Any:
        if isinstance(value, list):
            return list[kind(value[0])]  # type: ignore[misc]
        return str if isinstance(value, str) else int if isinstance(value, int) else float

    fields = {f"f{n}": (kind(value), Field(alias=name)) for n, (name, value) in enumerate(example.items())}
    return create_model("Row", **fields)  # type: ignore[call-overload, no-any-return]


def for_task(folder: Path, scores_of: Callable[[dict[str, Any]], Any]) -> FastAPI:
    """A plain handler of any task: pydantic, the task's own preprocessor, a model, its answer in JSON."""
    from flywheel.preprocessor.task import load_preprocessor

    preprocessor = load_preprocessor(folder / "preprocessor.json")
    row = row_model(json.loads((folder / "row.json").read_text()))
    app = FastAPI()

    def predict(given: Any) -> dict[str, Any]:
        frame = pd.DataFrame({name: [value] for name, value in given.model_dump(by_alias=True).items()})
        answers = preprocessor.answers(scores_of(preprocessor.transform(frame)), frame)
        return {name: column[0].tolist() if hasattr(column[0], "tolist") else column[0]
                for name, column in answers.items()}  # fmt: skip

    predict.__annotations__["given"] = row  # made at run time, so no name for it can stand above
    app.post("/predict")(predict)
    return app


def task_onnx(folder: Path) -> FastAPI:
    """Any task over ONNX Runtime."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"])
    names = [one.name for one in session.get_inputs()]
    return for_task(folder, lambda inputs: session.run(["scores"], {name: inputs[name] for name in names})[0])


def task_torch(folder: Path) -> FastAPI:
    """Any task over PyTorch."""
    import torch

    from flywheel.model.network import load_network

    torch.set_num_threads(1)
    network = load_network(folder / "model")

    def scores_of(inputs: dict[str, Any]) -> Any:
        with torch.inference_mode():
            return network.predict({name: torch.from_numpy(values) for name, values in inputs.items()}).numpy()

    return for_task(folder, scores_of)


def with_flywheel(folder: Path, port: int) -> None:
    """Ours, without the registry: one worker, nothing recorded."""
    from flywheel.project.digest import sha256_of
    from flywheel.serve import WORKER
    from flywheel.serving.process.supervisor import Supervisor
    from flywheel.serving.settings import ServingSettings
    from flywheel.serving.version.served import ChampionVersion

    file = folder / "task"
    task = file.read_text() if file.is_file() else "digits"
    names = ("artifacts/model.onnx", "artifacts/preprocessor.json")
    sums = {name: sha256_of(folder / "version" / name) for name in names}
    champion = ChampionVersion(task, 1, "0" * 64, str(folder / "version"), sums)

    class Fixed:
        def first(self) -> list[ChampionVersion]:
            return [champion]

        def changed(self) -> list[ChampionVersion] | None:
            return None

    settings = ServingSettings(port=port, record="off")
    Supervisor(settings, Fixed(), WORKER, {}, print).run()


def main(name: str, folder: Path, port: int) -> None:
    """Serve until killed."""
    if name == "flywheel":
        with_flywheel(folder, port)
        return
    makers = {"torch": with_torch, "onnx": with_onnx, "task_torch": task_torch, "task_onnx": task_onnx}
    app = makers[name](folder)
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="error", access_log=False)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))

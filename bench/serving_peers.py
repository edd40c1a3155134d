"""Servers of one model, each in a process of its own: `python -m bench.serving_peers NAME FOLDER PORT`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel

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


def with_flywheel(folder: Path, port: int) -> None:
    """Ours, without the registry: one worker, nothing recorded."""
    from flywheel.serve import WORKER
    from flywheel.serving.served import Champion
    from flywheel.serving.settings import ServingSettings
    from flywheel.serving.supervisor import Supervisor

    champion = Champion("digits", 1, "0" * 64, str(folder / "version"))

    class Fixed:
        def first(self) -> list[Champion]:
            return [champion]

        def changed(self) -> list[Champion] | None:
            return None

    settings = ServingSettings(port=port, record="off")
    Supervisor(settings, Fixed(), WORKER, {}, print).run()


def main(name: str, folder: Path, port: int) -> None:
    """Serve until killed."""
    if name == "flywheel":
        with_flywheel(folder, port)
        return
    app = {"torch": with_torch, "onnx": with_onnx}[name](folder)
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="error", access_log=False)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))

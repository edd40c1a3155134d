"""Seconds from the start of a stage's process to its first work, and of a `dvc repro` and a `make` that do nothing.

"First work" is when settings are loaded and every module that the stage needs is imported; imports are what costs.
The peer is importing the library that the stage cannot do without. Run: python -m bench startup (after `make repro`)
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

from bench.record import Table

REPEATS = 3
LOAD = (
    "import flywheel.project.params as p; p.load_task('mnist5k'); "
    "import flywheel.project.staleness as s; s.warn_if_stale(); "
)
PROGRAMS = {
    "download": (LOAD + "import flywheel.download, flywheel.source.fetch", "pass"),
    "preprocess": (LOAD + "import flywheel.preprocess, flywheel.preprocessor.pipeline.run", "import pandas"),
    "train": (LOAD + "import flywheel.learner.fit, mlflow, flywheel.train", "import pytorch_lightning, mlflow"),
    "evaluate": (LOAD + "import flywheel.evaluate, flywheel.model.network, flywheel.report.folder", "import torch"),
    "export": (LOAD + "import flywheel.export, flywheel.registry.onnx_export, flywheel.model.network", "import torch"),
    "register": (LOAD + "import flywheel.register, mlflow, flywheel.registry.versions", "import mlflow"),
}
COMMANDS = {
    "flywheel --help": [sys.executable, "-m", "flywheel.command.cli", "--help"],
    "flywheel params, nothing to do": [sys.executable, "-m", "flywheel.command.cli", "params"],
    "make setup, nothing to do": ["make", "setup"],
    "dvc repro, nothing to do": [sys.executable, "-m", "dvc", "repro"],
}


def seconds(command: list[str]) -> float:
    """Time a command."""
    started = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - started


def main() -> Table:
    """Measure and return the table."""
    table = Table("startup", "Seconds to first work", ["what", "seconds", "peer", "peer's seconds", "ratio"])
    for name, (program, peer) in PROGRAMS.items():
        pairs = [
            (seconds([sys.executable, "-c", program]), seconds([sys.executable, "-c", peer])) for _ in range(REPEATS)
        ]
        ours, theirs = (statistics.median(column) for column in zip(*pairs, strict=True))
        ratio = statistics.median(a / b for a, b in pairs)
        table.add([name, f"{ours:.2f}", f"python -c '{peer}'", f"{theirs:.2f}", f"{ratio:.2f}"])
    for name, command in COMMANDS.items():
        pairs = [(seconds(command), seconds([sys.executable, "-c", "pass"])) for _ in range(REPEATS)]
        ours, theirs = (statistics.median(column) for column in zip(*pairs, strict=True))
        table.add([name, f"{ours:.2f}", "python -c 'pass'", f"{theirs:.2f}", f"{ours / theirs:.0f}"])
    return table

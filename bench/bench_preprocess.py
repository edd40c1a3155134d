"""Speed and peak memory of the preprocess stage at 1x and 10x data, for each modality.

Each runs `flywheel.preprocessor.pipeline.run.preprocess` with a default task of the modality as conf/ composes it, on
seeded data made on the fly (bench/preprocess_data.py) and removed afterwards. The peer does the like as one would in a
notebook, with all data in memory (bench/preprocess_peers.py). Every run is a process of its own on one thread, and its
seconds are the processor's, imports included, so that other work on the machine hardly counts. The two are interleaved,
figures are medians. Run: python -m bench preprocess
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench import preprocess_data, preprocess_peers
from bench.record import Table

REPEATS, FACTOR = 3, 10
ROOT = Path(__file__).parent.parent
TABLE = ["path=table.csv", "names=null", "skip_lines=0", "label_column=bought", "classes=null"]


@dataclass(frozen=True)
class Modality:
    """What is measured.

    Attributes:
        rows: At 1x: enough to fill the chunks that the stage works on.
        task: Whose settings are used.
        write: Makes the raw files of so many rows, and says in words what they are.
        peer: Its name.
        run_peer: Makes processed data of raw data.
        overrides: Of the task's reader.
    """

    rows: int
    task: str
    write: Callable[[Path, int], str]
    peer: str
    run_peer: Callable[[Path, Path], None]
    overrides: tuple[str, ...] = ()


MODALITIES = {
    "image": Modality(40_000, "fashion", preprocess_data.write_pictures, "numpy", preprocess_peers.pictures),
    "text": Modality(12_000, "tweets", preprocess_data.write_texts, "scikit-learn TfidfVectorizer",
                     preprocess_peers.texts),
    "audio": Modality(2_000, "spoken_digits", preprocess_data.write_clips, "scipy.signal.spectrogram",
                      preprocess_peers.clips),
    "tabular": Modality(20_000, "breast_cancer", preprocess_data.write_table, "scikit-learn ColumnTransformer",
                        preprocess_peers.table, tuple(f"data.reader.read.{key}" for key in TABLE)),
    "interactions": Modality(15_000, "movielens", preprocess_data.write_interactions, "pandas",
                             preprocess_peers.interactions),
}  # fmt: skip


def main(names: tuple[str, ...] = tuple(MODALITIES), repeats: int = REPEATS) -> Table:
    """Measure flywheel and the peer of each modality, at both sizes."""
    columns = ["modality", "data", "MiB raw", "program", "CPU seconds", "a second", "times the peer's speed"]
    columns += ["peak MiB", "grown MiB", "grown bytes a row"]
    table = Table("preprocess", f"preprocess at 1x and {FACTOR}x data, medians of {repeats}", columns)
    for name in names:
        with tempfile.TemporaryDirectory(prefix="flywheel-bench-") as folder:
            add_modality(table, name, Path(folder), repeats)
    return table


def add_modality(table: Table, name: str, folder: Path, repeats: int) -> None:
    """Add the rows of one modality."""
    modality = MODALITIES[name]
    programs = {"flywheel": "flywheel", modality.peer: "peer"}
    (folder / "task.json").write_text(json.dumps(composed(modality)))
    smallest: dict[str, float] = {}
    for rows in (modality.rows, modality.rows * FACTOR):
        raw = folder / "raw"
        raw.mkdir()
        said = modality.write(raw, rows)
        size = sum(path.stat().st_size for path in raw.iterdir()) / 2**20
        runs = [{title: measure(name, which, folder) for title, which in programs.items()} for _ in range(repeats)]
        shutil.rmtree(raw)
        seconds, peaks = (
            {title: statistics.median(run[title][key] for run in runs) for title in programs}
            for key in ("seconds", "mebibytes")
        )
        number, unit = said.partition(" in ")[0].split(maxsplit=1)
        amount = int(number.replace(",", ""))
        for title in programs:
            first = smallest.setdefault(title, peaks[title])
            grown = peaks[title] - first
            each = f"{grown * 2**20 / (rows - modality.rows):.0f}" if rows > modality.rows else ""
            speed = f"{seconds[modality.peer] / seconds[title]:.2f}"
            rate = f"{amount / seconds[title]:,.0f} {unit}"
            figures = [f"{seconds[title]:.2f}", rate, speed, round(peaks[title]), round(grown), each]
            table.add([name, said, round(size), title, *figures])


def composed(modality: Modality) -> dict[str, object]:
    """The task as conf/ has it: composed here, since Hydra is no part of a stage."""
    from flywheel.project.compose import compose_task

    return compose_task(ROOT, [f"task={modality.task}", *modality.overrides])


def measure(name: str, which: str, folder: Path) -> dict[str, float]:
    """Run a program in a process of its own: its seconds and its peak memory."""
    command = [sys.executable, "-m", "bench.bench_preprocess", name, which, str(folder)]
    one_thread = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True, env=os.environ | one_thread)
    shutil.rmtree(folder / "out")
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def child(name: str, which: str, folder: str) -> None:
    """Run one program in this process, and print its seconds and the peak of its memory."""
    started = time.process_time()
    raw, out = Path(folder) / "raw", Path(folder) / "out"
    if which == "flywheel":
        from flywheel.preprocessor.pipeline.run import preprocess
        from flywheel.project.params import task_from

        preprocess(task_from(json.loads((Path(folder) / "task.json").read_text()), ""), raw, raw / "none", out)
    else:
        MODALITIES[name].run_peer(raw, out)
    print(json.dumps({"seconds": time.process_time() - started, "mebibytes": peak_mebibytes()}))


def peak_mebibytes() -> float:
    """Peak resident memory of this process."""
    status = Path("/proc/self/status")
    if status.exists():  # ru_maxrss would include the parent's memory at the time of the fork
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform == "linux" else 1024**2)


if __name__ == "__main__":
    child(*sys.argv[1:])

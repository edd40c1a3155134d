"""Stage `download`: brings a task's raw files into `data/raw/<task>/`, each proved by its sha256.

`source.json` beside them says what the data set is (name, licence, sources, sums), and is the same whichever source
answered. Where the bytes really came from, which may differ from machine to machine, is state and not a result:
it is in `.flywheel/source/<task>.json`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from flywheel.project.config import TaskConfig
from flywheel.project.params import state_dir
from flywheel.project.stage import run_stage
from flywheel.project.whole import whole_folder
from flywheel.source.fetch import FROM_STORE, Fetched, obtain
from flywheel.source.store import write_json


def download(task: TaskConfig) -> None:
    """Fetch a task's data set; what was there before stays until the new files are all there."""
    with whole_folder(Path("data") / "raw" / task.name) as folder:
        fetched = obtain(task.data, folder)
    note_origin(task.name, fetched)


def note_origin(task: str, fetched: Fetched) -> None:
    """Write where each file came from; of files out of the store, what is known about the same bytes stays."""
    file = state_dir() / "source" / f"{task}.json"
    known = _known_origins(file)
    origins = {}
    for name, uri in fetched.obtained_from.items():
        sha256 = fetched.record["sha256"][name]
        origins[name] = {"sha256": sha256, "uri": known.get(sha256, uri) if uri == FROM_STORE else uri}
    write_json(file, {"data": fetched.record["name"], "obtained_from": origins})


def _known_origins(file: Path) -> dict[str, str]:
    try:
        noted = json.loads(file.read_text())["obtained_from"].values()
        return {origin["sha256"]: origin["uri"] for origin in noted}
    except (FileNotFoundError, ValueError, KeyError):
        return {}


if __name__ == "__main__":
    sys.exit(run_stage("download", download))

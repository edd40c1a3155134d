"""`data/feedback/<task>/`: the rows that were pulled, as Parquet; `data/feedback/<task>.json` beside it says why those.

The Parquet files are what `preprocess` reads, and nothing else is in the folder: what was refused changes no row, and
must not make a stage run again. Which predictions the rows come from stands in the files themselves.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from flywheel.feedback.rows import arrow_column, shape_of
from flywheel.preprocessor.pipeline.feedback import (
    FEEDBACK_KEY,
    feedback_files,
    feedback_sha256,
    manifest_file,
    predictions_of,
)
from flywheel.project.digest import sha256_of
from flywheel.project.types import Json
from flywheel.project.whole import whole_file

FORMAT = 1
STEM = "rows"


@dataclass
class Pulled:
    """Output of a pull.

    Attributes:
        frame: The rows, with `label`; the column `prediction` says where each is from.
        schema: JSON Schema of one request.
        told: Other contents of the manifest: counts, rules, held-out data.
    """

    frame: pd.DataFrame
    schema: Json
    told: Json = field(default_factory=dict)


def write_pulled(folder: Path, pulled: Pulled) -> bool:
    """Write rows and manifest, where they differ from what is there; each file whole or not at all.

    Returns:
        Whether any row has changed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    wanted = _tables(pulled)
    before = {path.name: sha256_of(path) for path in _own_files(folder)}
    for name, table in wanted.items():
        _write_table(folder / name, table)
    for name in before.keys() - wanted.keys():
        (folder / name).unlink()
    after = {path.name: sha256_of(path) for path in _own_files(folder)}
    files = feedback_files(folder)
    manifest = {
        "format": FORMAT,
        "task": folder.name,
        "sha256": feedback_sha256(files) if files else None,
        "num_rows": sum(table.num_rows for table in wanted.values()),
        **pulled.told,
        "files": {name: {"sha256": after[name], "num_rows": table.num_rows} for name, table in sorted(wanted.items())},
        "predictions": [one for path in files for one in predictions_of(path)],
    }
    text = json.dumps(manifest, indent=1, ensure_ascii=False) + "\n"
    file = manifest_file(folder)
    known = file.read_text(encoding="utf-8") if file.is_file() else None
    if known != text and (wanted or known is not None):
        with whole_file(file) as part:
            part.write_text(text, encoding="utf-8")
    return before != after


def remove_rows(folder: Path, predictions: set[str]) -> int:
    """Remove the rows of some predictions from what was pulled, and from the manifest.

    Returns:
        How many rows there were.
    """
    import pyarrow
    from pyarrow import parquet

    num_rows = 0
    for path in _own_files(folder):
        held = predictions_of(path)
        kept = [place for place, one in enumerate(held) if one not in predictions]
        if len(kept) == len(held):
            continue
        num_rows += len(held) - len(kept)
        if kept:
            table = parquet.read_table(path, partitioning=None).take(kept)
            columns = {name: arrow_column(table[name].to_pylist()) for name in table.column_names}
            _write_table(path, _labelled(pyarrow.table(columns), [held[place] for place in kept]))
        else:
            path.unlink()
    if num_rows:
        _correct_manifest(folder)
    return num_rows


def _correct_manifest(folder: Path) -> None:
    """Let a manifest tell of the rows that are left; what it says of the pull itself stays."""
    file = manifest_file(folder)
    if not file.is_file():
        return
    manifest = json.loads(file.read_text(encoding="utf-8"))
    files = feedback_files(folder)
    rows = {path: predictions_of(path) for path in files}
    manifest |= {
        "sha256": feedback_sha256(files) if files else None,
        "num_rows": sum(map(len, rows.values())),
        "files": {path.name: {"sha256": sha256_of(path), "num_rows": len(held)} for path, held in rows.items()},
        "predictions": [one for held in rows.values() for one in held],
    }
    with whole_file(file) as part:
        part.write_text(json.dumps(manifest, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _own_files(folder: Path) -> list[Path]:
    """Those that a pull has written; a person may have put others beside them."""
    return [path for path in feedback_files(folder) if path.name.partition(".")[0].partition("_")[0] == STEM]


def _tables(pulled: Pulled) -> dict[str, Any]:
    """A table a file; rows whose values one file cannot hold (encoded pictures, and lists of pixels) are parted."""
    inputs = pulled.frame.drop(columns=["label", "prediction"])
    shapes = [shape_of(inputs, pulled.schema, row) for row in range(len(inputs))]
    tables = {}
    for shape in sorted(set(shapes)):
        places = [place for place, one in enumerate(shapes) if one == shape]
        name = f"{STEM}_{shape}.parquet" if shape else f"{STEM}.parquet"
        tables[name] = _table(pulled.frame.iloc[places])
    return tables


def _table(frame: pd.DataFrame) -> Any:
    import pyarrow

    names = [name for name in frame.columns if name != "prediction"]
    columns = {name: arrow_column(frame[name].tolist()) for name in names}
    return _labelled(pyarrow.table(columns), frame["prediction"].tolist())


def _labelled(table: Any, predictions: Sequence[str]) -> Any:
    told = json.dumps({"format": FORMAT, "predictions": list(predictions)}, separators=(",", ":"))
    return table.replace_schema_metadata({FEEDBACK_KEY: told.encode()})


def _write_table(file: Path, table: Any) -> None:
    """Write a table, unless the file holds those very bytes."""
    from pyarrow import parquet

    content = io.BytesIO()
    parquet.write_table(table, content, compression="zstd")
    if not file.is_file() or file.read_bytes() != content.getvalue():
        with whole_file(file) as part:
            part.write_bytes(content.getvalue())

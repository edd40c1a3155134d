"""`predictions.parquet`: what the model said about each test row."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from flywheel.report.bootstrap import Array


def write_predictions(columns: Mapping[str, Array], file: Path) -> None:
    """Write columns as Parquet; equal columns give equal bytes (no index, no pandas metadata)."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table({name: pa.array(values) for name, values in columns.items()})
    pq.write_table(table, file, compression="zstd")

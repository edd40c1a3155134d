"""Outcomes that arrive later, in a table: `prediction_id` and `label`, or `correct`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from flywheel.feedback.store import FeedbackStore
from flywheel.project.errors import DataError, nearest
from flywheel.reader.format.table_file import TableFile, TableFormat, is_table
from flywheel.serving.version.record import Feedback, key_of

ROWS = 5000
TRUE, FALSE = ("true", "yes", "1", "right"), ("false", "no", "0", "wrong")
COLUMNS = ("prediction_id", "label", "correct", "time")


def add_outcomes(store: FeedbackStore, file: Path, client: str) -> Counter[str]:
    """Record a table's rows as feedback of the source `outcome`; the same table twice is kept once.

    A row that says what its client said last about the prediction, or what was said at the same `time`, is known. A
    table with several rows about one prediction should have `time`: without it, their order tells which is the latest.

    Args:
        store: The feedback store with the predictions.
        file: CSV, TSV, Parquet or JSONL with `prediction_id`, and `label` or `correct`; `time` (ISO 8601) may say when.
        client: Client that the outcomes are recorded for.

    Returns:
        How many rows were `stored`, `known` and of an `unknown_prediction`.

    Raises:
        DataError: The file is missing, of another kind, or a row of it cannot be read; nothing is recorded then.
    """
    rows = list(_rows(file, key_of(client, "--client") if client else ""))
    said: Counter[str] = Counter()
    for start in range(0, len(rows), ROWS):
        said.update(one.outcome for one in store.record_feedback(rows[start : start + ROWS]))
    return said


def _rows(file: Path, client: str) -> Iterator[Feedback]:
    if not file.is_file():
        raise DataError(file, None, "no such file", fix="check the path")
    if not is_table(file):
        raise DataError(
            file, None, f"files of type '{file.suffix}' are not supported", fix="give .csv, .parquet or .jsonl"
        )
    now = datetime.now(UTC)
    for frame in TableFile(file, TableFormat()).chunks(ROWS):
        names = [str(name) for name in frame.columns]
        frame.columns = pd.Index(names, dtype=object)
        if "prediction_id" not in names:
            raise DataError(file, None, "has no column 'prediction_id'", fix=nearest("prediction_id", names))
        if "label" not in names and "correct" not in names:
            raise DataError(file, None, "has neither a column 'label' nor 'correct'", fix=nearest("label", names))
        columns = {name: frame[name].tolist() if name in names else [None] * len(frame) for name in COLUMNS}
        for row, values in zip(frame.index, zip(*columns.values(), strict=True), strict=True):
            yield _word(file, int(row), dict(zip(COLUMNS, map(_given, values), strict=True)), client, now)


def _word(file: Path, row: int, given: dict[str, Any], client: str, now: datetime) -> Feedback:
    name, label, correct = given["prediction_id"], given["label"], _truth(file, row, given["correct"])
    if name is None:
        raise DataError(file, row, "has no prediction_id", fix="remove the row, or fix it")
    if label is None and correct is None:
        raise DataError(file, row, "gives neither label nor correct", fix="remove the row, or fix it")
    label = label if label is None or isinstance(label, int | float) else str(label)
    return Feedback("", str(name), label, correct, _time(file, row, given["time"]) or now, client, "outcome")


def _given(value: Any) -> Any:
    """A value, None where it is missing."""
    if value is None or value is pd.NA or value != value:  # NaN is the missing value of numbers
        return None
    if isinstance(value, str):
        return value.strip() or None
    return value.item() if hasattr(value, "item") else value


def _truth(file: Path, row: int, value: Any) -> bool | None:
    if value is None or isinstance(value, bool):
        return value
    text = str(value).lower()
    if text not in (*TRUE, *FALSE):
        raise DataError(file, row, f"correct is '{value}', neither true nor false")
    return text in TRUE


def _time(file: Path, row: int, value: Any) -> datetime | None:
    if value is None or isinstance(value, datetime):
        return value
    try:
        return datetime.fromisoformat(str(value))
    except ValueError:
        raise DataError(file, row, f"time '{value}' is not like 2026-03-01T12:00:00+00:00") from None

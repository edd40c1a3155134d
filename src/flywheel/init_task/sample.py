"""A bounded sample of a table's rows, all values as text, whatever the table's format."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from flywheel.init_task.blocks import SEED, SampleBlocks, read_blocks
from flywheel.init_task.delimited import Dialect, dialect_of, parse_head, parse_more
from flywheel.init_task.encoding import decoded, encoding_of
from flywheel.init_task.guess import Node
from flywheel.project.errors import DataError
from flywheel.reader.format.table import parquet_shape
from flywheel.reader.format.table_file import JSONL_KINDS, PARQUET_KINDS, TEXT_KINDS
from flywheel.reader.format.unique import RepeatedKeyError, parse_json

MAX_PARQUET_ROWS = 100_000
PARQUET_BATCH = 8192


@dataclass(frozen=True)
class TableSample:
    """Rows of a table.

    Attributes:
        path: The table.
        frame: The rows as text, an empty one where a value is missing.
        num_rows: The number of rows of the whole table; an estimate where `is_whole` is false.
        is_whole: Whether `frame` holds every row.
        form: Arguments of the reader that say how the file is written, where they are not its defaults.
        nested: Columns that hold lists or objects; they are not in `frame`.
        said: Description of how it was read, for the user.
    """

    path: Path
    frame: pd.DataFrame
    num_rows: int
    is_whole: bool
    form: Node = field(default_factory=dict)
    nested: tuple[str, ...] = ()
    said: str = ""


def kind_of(path: Path) -> str:
    """The ending that says a table's format, in small letters, `.gz` left aside."""
    name = path.name.lower().removesuffix(".gz")
    return Path(name).suffix


def read_sample(path: Path) -> TableSample:
    """Read a table, or a bounded sample of a large one.

    Raises:
        DataError: It is empty, has no rows, no names, a name twice, or is not what its ending says.
        OSError: It cannot be read.
    """
    if path.stat().st_size == 0:
        raise DataError(path, None, "is empty", fix="give a table with a header line and rows")
    kind = kind_of(path)
    if kind in PARQUET_KINDS:
        sample = _parquet(path)
    elif kind in JSONL_KINDS:
        sample = _jsonl(path)
    else:
        sample = _delimited(path, kind)
    if not len(sample.frame):
        raise DataError(path, None, "has a header but no rows", fix="add rows to learn from")
    if not len(sample.frame.columns):
        raise DataError(path, None, "has no column of plain values", fix="give one value a column")
    return sample


def _delimited(path: Path, kind: str) -> TableSample:
    blocks = read_blocks(path)
    encoding = encoding_of(path, blocks)
    head = decoded(blocks.head, encoding)
    dialect = dialect_of(path, head)
    frame, wraps = parse_head(path, head, dialect, is_whole=blocks.is_whole)
    frames = [frame]
    if not wraps:  # with line breaks inside values, nobody knows where a row begins in the middle of a file
        frames += [parse_more(decoded(block, encoding), dialect) for block in blocks.others]
    rows = pd.concat(frames, ignore_index=True) if len(frames) > 1 else frame
    form: Node = {}
    if dialect.separator != TEXT_KINDS.get(kind, ","):
        form["separator"] = dialect.separator
    if encoding != "utf-8":
        form["encoding"] = encoding
    num_rows = len(frame) if blocks.is_whole else _estimate(blocks, len(frame))
    return TableSample(path, rows, num_rows, blocks.is_whole, form, (), _said(dialect, encoding, blocks, len(rows)))


def _jsonl(path: Path) -> TableSample:
    blocks = read_blocks(path)
    encoding = encoding_of(path, blocks)
    lines = [line for block in (blocks.head, *blocks.others) for line in decoded(block, encoding).split("\n")]
    num_head = decoded(blocks.head, encoding).count("\n") + 1
    values: dict[str, list[str]] = {}
    nested: dict[str, None] = {}
    num_rows = num_head_rows = 0
    for number, line in enumerate(lines):
        if not line.strip():
            continue
        for name, value in _object(path, num_rows, number, line, number < num_head).items():
            if isinstance(value, list | dict):
                nested[name] = None
            column = values.setdefault(name, [])
            column.extend([""] * (num_rows - len(column)))
            column.append("" if value is None else str(value))
        num_rows += 1
        num_head_rows += number < num_head
    plain = {k: v + [""] * (num_rows - len(v)) for k, v in values.items() if k not in nested}
    total = num_rows if blocks.is_whole else _estimate(blocks, num_head_rows)
    form = {} if encoding == "utf-8" else {"encoding": encoding}
    frame = pd.DataFrame(plain, index=range(num_rows), dtype=str)
    said = f"one JSON object a line, {encoding}{_part(blocks, num_rows)}"
    return TableSample(path, frame, total, blocks.is_whole, form, tuple(nested), said)


def _object(path: Path, row: int, number: int, line: str, in_head: bool) -> dict[str, Any]:
    try:
        record = parse_json(line)
    except RepeatedKeyError as error:
        where = f"line {number + 1}" if in_head else "a line"
        raise DataError(path, row if in_head else None, f"{where}: {error}", fix="rename one of them") from None
    except (ValueError, RecursionError) as error:
        where = f"line {number + 1}" if in_head else "a line"
        fix = "give one JSON object a line (JSON lines)"
        raise DataError(path, row if in_head else None, f"{where} is not JSON: {error}", fix=fix) from None
    if not isinstance(record, dict):
        kind = type(record).__name__
        raise DataError(path, row, f"holds a {kind}, not a JSON object", fix="give one {...} a line (JSON lines)")
    return record


def _parquet(path: Path) -> TableSample:
    columns, num_rows = parquet_shape(path)
    from pyarrow import parquet, types

    file = parquet.ParquetFile(path)
    nested = tuple(field.name for field in file.schema_arrow if types.is_nested(field.type))
    plain = [str(name) for name in columns if name not in nested]
    whole = num_rows <= MAX_PARQUET_ROWS
    frames = [
        batch.to_pandas(ignore_metadata=True)
        for group in _groups(file.metadata.num_row_groups, whole)
        for batch in _batches(file, group, plain, whole)
    ]
    rows = pd.concat(frames, ignore_index=True).head(MAX_PARQUET_ROWS) if frames else pd.DataFrame(columns=plain)
    text = pd.DataFrame({name: _as_text(rows[name]) for name in plain}, index=rows.index)
    part = "" if whole else f"; {len(text):,} rows looked at: the first of row groups drawn at random"
    return TableSample(path, text, num_rows, whole, {}, nested, f"Parquet{part}")


def _groups(number: int, whole: bool) -> list[int]:
    """Row groups to look at: all, or the first and others drawn from the rest."""
    most = MAX_PARQUET_ROWS // PARQUET_BATCH
    if whole or number <= most:
        return list(range(number))
    return [0, *sorted(random.Random(SEED).sample(range(1, number), most - 1))]


def _batches(file: Any, group: int, columns: list[str], whole: bool) -> list[Any]:
    batches = file.iter_batches(batch_size=PARQUET_BATCH, row_groups=[group], columns=columns)
    return list(batches) if whole else [batch for batch, _ in zip(batches, range(1), strict=False)]


def _as_text(column: pd.Series) -> pd.Series:
    missing = column.isna()
    if pd.api.types.is_float_dtype(column) and (column.dropna() % 1 == 0).all():  # whole numbers, some missing
        column = column.astype("Int64")
    return column.astype(str).mask(missing, "").astype(str)


def _estimate(blocks: SampleBlocks, num_head_rows: int) -> int:
    """Rows of the whole file, from the mean length of those in its head; of a large gzip, the least it can be."""
    return num_head_rows if blocks.num_bytes is None else round(blocks.num_bytes * num_head_rows / len(blocks.head))


def _said(dialect: Dialect, encoding: str, blocks: SampleBlocks, num_rows: int) -> str:
    return f"columns separated by {dialect.name}, {encoding}{_part(blocks, num_rows)}"


def _part(blocks: SampleBlocks, num_rows: int) -> str:
    if blocks.is_whole:
        return ""
    of = "a large gzip file" if blocks.num_bytes is None else f"{blocks.num_bytes / 1e6:,.0f} MB"
    where = f"its head and {len(blocks.others)} places drawn at random" if blocks.others else "its head"
    return f"; {num_rows:,} rows looked at: {where}, {blocks.num_read / 1e6:.0f} MB of {of}"

"""Reads CSV, Parquet and JSONL files as frames of limited size."""

from __future__ import annotations

import csv
import io
import re
import sys
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from flywheel.project.errors import DataError
from flywheel.reader.format.raw_file import broken_gzip_named, open_raw
from flywheel.reader.format.unique import RepeatedKeyError, check_columns, parse_json
from flywheel.reader.format.value import object_column


def csv_chunks(path: Path, rows: int, **options: Any) -> Iterator[pd.DataFrame]:
    """Read a CSV file in frames of at most `rows` rows, indexed by row number.

    Empty lines count as rows, and a row with too many values is an error: nothing is skipped or cut silently. With
    `na_filter=False` (all values are texts) so is a row with too few.

    Args:
        path: The file; `.gz` is unpacked on the way.
        rows: Maximum number of rows in a frame.
        **options: Further arguments of `pandas.read_csv`.

    Raises:
        DataError: A row has more values than the first, or fewer (see above), the header has a name twice, the text is
            not in the encoding, or the gzip is broken.
    """
    strict: dict[str, Any] = {"index_col": False, "skip_blank_lines": False, "low_memory": False}
    first, checked = 0, False
    try:
        if options.get("header", 0) == 0:
            check_columns(path, next(_records(path, options), []))
        with broken_gzip_named(path), pd.read_csv(path, chunksize=rows, **strict, **options) as reader:
            while (frame := _next_strict(reader)) is not None:
                frame.index = pd.RangeIndex(first, first + len(frame))
                first += len(frame)
                if not checked and options.get("na_filter") is False and _may_end_early(frame):
                    _check_lengths(path, len(frame.columns), options)
                    checked = True
                yield frame
    except pd.errors.EmptyDataError:
        raise DataError(path, None, "is empty", fix="download it again") from None
    except pd.errors.ParserError as error:
        raise _parser_error(path, str(error), options.get("header")) from None
    except pd.errors.ParserWarning:
        raise DataError(path, first, "this row, or one soon after, has more values than the header") from None
    except UnicodeDecodeError as error:
        raise _not_text(path, None, options.get("encoding") or "utf-8", error) from None


def _next_strict(reader: Any) -> pd.DataFrame | None:
    """The next frame; rows that pandas would cut with a warning raise."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)
        return next(reader, None)


def _may_end_early(frame: pd.DataFrame) -> bool:
    """Whether a row, if not a wholly empty line, has no last value: pandas fills up rows that end early with such."""
    left = frame[(frame.iloc[:, -1] == "") | frame.iloc[:, -1].isna()]
    return len(frame.columns) > 1 and any(text.strip() for name in left.columns for text in map(str, left[name]))


def _check_lengths(path: Path, width: int, options: dict[str, Any]) -> None:
    """Refuse the first row of a file with fewer values than the header; rows without any value may be.

    pandas' fast parser makes an empty text of a value that is not there, so rows are parsed again, by Python's.
    """
    for row, values in enumerate(_records(path, options), start=0 if options.get("header") is None else -1):
        if row >= 0 and len(values) < width and "".join(values).strip():
            fix = "fix the row, or write the separators of its empty values too"
            why = f"has fewer values than the header ({len(values)}, not {width})"
            raise DataError(path, row, why, fix=fix)


def _records(path: Path, options: dict[str, Any]) -> Iterator[list[str]]:
    """The values of each row as the file has them, the header's first, by Python's parser."""
    encoding, separator = options.get("encoding") or "utf-8", options.get("sep", ",")
    with open_raw(path) as stream:
        text = io.TextIOWrapper(stream, "utf-8-sig" if encoding == "utf-8" else encoding, newline="")
        for _ in range(options.get("skiprows") or 0):
            text.readline()
        quoting, is_spaced = options.get("quoting", csv.QUOTE_MINIMAL), separator == r"\s+"
        lines = (" ".join(line.split()) for line in text) if is_spaced else text
        limit = csv.field_size_limit(sys.maxsize)
        try:
            yield from csv.reader(lines, delimiter=" " if is_spaced else separator, quoting=quoting)
        except csv.Error as error:
            raise DataError(path, None, f"is not CSV: {error}") from None
        finally:
            csv.field_size_limit(limit)


def _parser_error(path: Path, message: str, header: Any) -> DataError:
    """Turn pandas' 1-based line number into a row number."""
    found = re.search(r"Expected (\d+) fields in line (\d+), saw (\d+)", message)
    if found is None:
        return DataError(path, None, f"is not CSV: {message}".replace("\n", " ").strip())
    expected, line, saw = map(int, found.groups())
    return DataError(path, line - 1 - (header == 0), f"has {saw} values, others have {expected}")


def jsonl_chunks(
    path: Path, rows: int, columns: Sequence[str] | None = None, *, encoding: str = "utf-8"
) -> Iterator[pd.DataFrame]:
    """Read a file with one JSON object a line in frames of at most `rows` rows, indexed by row number.

    Lines of white space only are not rows. Values stay as JSON has them (a list is a list), in columns of objects; what
    an object lacks is None.

    Args:
        path: The file, plain or gzipped.
        rows: Maximum number of rows in a frame.
        columns: Columns of every frame; None: those that occur in the frame's own rows.
        encoding: The encoding of the text.

    Raises:
        DataError: A line is not a JSON object, the text is not in the encoding, or the gzip is broken.
    """
    held: list[dict[str, Any]] = []
    first = 0
    for record in _json_objects(path, encoding):
        held.append(record)
        if len(held) == rows:
            yield _frame_of(held, columns, first)
            first, held = first + rows, []
    if held:
        yield _frame_of(held, columns, first)


def jsonl_shape(path: Path, *, encoding: str = "utf-8") -> tuple[Sequence[str], int]:
    """Give every key that a JSONL file's objects have, in the order in which they first occur, and its number of rows.

    Raises:
        DataError: As `jsonl_chunks`.
    """
    names: dict[str, None] = {}
    num_rows = 0
    for record in _json_objects(path, encoding):
        names.update(dict.fromkeys(record))
        num_rows += 1
    return list(names), num_rows


def _json_objects(path: Path, encoding: str) -> Iterator[dict[str, Any]]:
    row = 0
    with open_raw(path) as stream:
        for number, line in enumerate(stream, start=1):
            if not line.strip():
                continue
            try:
                record = parse_json(line.decode(encoding).removeprefix("\ufeff"))
            except UnicodeDecodeError as error:
                raise _not_text(path, row, encoding, error) from None
            except RepeatedKeyError as error:
                raise DataError(path, row, f"line {number}: {error}", fix="rename one of them") from None
            except (ValueError, RecursionError) as error:
                raise DataError(path, row, f"line {number} is not JSON: {error}") from None
            if not isinstance(record, dict):
                kind = type(record).__name__
                raise DataError(path, row, f"line {number} is not a JSON object but a {kind}", fix="write {...}")
            yield record
            row += 1


def _frame_of(records: list[dict[str, Any]], columns: Sequence[str] | None, first: int) -> pd.DataFrame:
    names = list(dict.fromkeys(name for record in records for name in record)) if columns is None else columns
    values = {name: object_column([record.get(name) for record in records]) for name in names}
    return pd.DataFrame(values, index=pd.RangeIndex(first, first + len(records)), dtype=object)


def _not_text(path: Path, row: int | None, encoding: str, error: UnicodeDecodeError) -> DataError:
    name = "UTF-8" if encoding.lower().replace("_", "-") in ("utf-8", "utf8", "utf-8-sig") else encoding
    where = f"byte {error.start} of a {'value' if row is None else 'line'}"
    return DataError(path, row, f"is not {name} text ({where})", fix="save it as UTF-8, or name its encoding")


def parquet_shape(path: Path) -> tuple[Sequence[str], int]:
    """Give a Parquet file's columns and its number of rows.

    Raises:
        DataError: It is not a Parquet file, or has two columns of one name.
    """
    with _open_parquet(path) as file:
        return file.schema_arrow.names, file.metadata.num_rows


def parquet_metadata(path: Path) -> tuple[dict[bytes, bytes], int]:
    """Give what a Parquet file's writer noted in it besides the columns, and its number of rows.

    Raises:
        DataError: It is not a Parquet file.
    """
    with _open_parquet(path) as file:
        return dict(file.schema_arrow.metadata or {}), file.metadata.num_rows


def parquet_chunks(path: Path, rows: int) -> Iterator[pd.DataFrame]:
    """Read a Parquet file in frames of at most `rows` rows, indexed by row number.

    Raises:
        DataError: It is not a Parquet file.
    """
    first = 0
    with _open_parquet(path) as file:
        for batch in file.iter_batches(batch_size=rows):
            frame = batch.to_pandas(
                ignore_metadata=True
            )  # an index and its numbers are columns and names as all others
            frame.index = pd.RangeIndex(first, first + len(frame))
            first += len(frame)
            yield frame


def _open_parquet(path: Path) -> Any:
    import pyarrow
    from pyarrow import parquet

    try:
        file = parquet.ParquetFile(path)
    except pyarrow.ArrowException as error:
        raise DataError(path, None, f"is not a Parquet file: {error}".replace("\n", " ")) from None
    check_columns(path, file.schema_arrow.names)
    return file

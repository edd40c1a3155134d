"""Batch prediction with a registered model: files in, a table with labels and probabilities out."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from flywheel.project.errors import DataError, FlywheelError, nearest
from flywheel.project.whole import whole_file

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table

    from flywheel.registry.predictor import Predictor
    from flywheel.registry.versions import Version

ENDINGS = (".csv", ".parquet", ".jsonl")
STDOUT = Path("-")
BATCH_ROWS = 1024
GROUP_FILES, GROUP_BYTES = 256, 64_000_000
HEAD_ROWS = 20


@dataclass(frozen=True)
class Predictions:
    """What a batch prediction did.

    Attributes:
        version: The model version that answered, as `task/number`.
        model_sha256: The sha256 of its weights.
        num_rows: Number of predicted rows.
        head: The first answers, at most `HEAD_ROWS`.
        output: The file with all of them; None: only `head` is kept.
        variant: Name of the export variant that answered.
        titles: Titles of items, where the data have them.
    """

    version: str
    model_sha256: str
    num_rows: int
    head: pd.DataFrame
    output: Path | None
    variant: str = "fp32"
    titles: Mapping[str, str] = field(default_factory=dict)


def predict(
    task: str,
    files: Sequence[Path],
    *,
    output: Path | None = None,
    version: str | None = None,
    alias: str | None = None,
) -> Predictions:
    """Answer every row of the files with a registered model, the champion unless another is named.

    Args:
        task: The registered model.
        files: What the task's preprocessor reads: for pictures, picture files, folders, .npy, .csv and .parquet.
        output: A .csv, .parquet or .jsonl file; it appears when all rows are answered, or not at all. `-`: standard
            output, as JSON lines, while rows are answered.
        version: A version's number.
        alias: An alias, such as `candidate`.

    Raises:
        FlywheelError: There is no such model, or a file or a row cannot be used; nothing is written then.
    """
    import pandas as pd

    from flywheel.project.tracking import prepare
    from flywheel.registry import versions
    from flywheel.registry.package import open_package

    _check(files, output, version, alias)
    client = prepare()
    found = versions.resolve(client, task, version or alias or versions.CHAMPION)
    predictor = open_package(versions.folder_of(client, found), found.sums)
    num_rows, heads, num_head = 0, [], 0
    with _writing(output) as write:
        for answers in answer(predictor, found, files):
            write(answers)
            num_rows += len(answers)
            if num_head < HEAD_ROWS:
                heads.append(answers.head(HEAD_ROWS - num_head))
                num_head += len(heads[-1])
        if not num_rows:
            raise DataError(files[0], None, "holds no rows", fix="name a file with at least one")
    head = pd.concat(heads, ignore_index=True)
    titles = predictor.preprocessor.inputs.item_titles()
    return Predictions(str(found), found.model_sha256, num_rows, head, output, found.variant, titles)


def answer(predictor: Predictor, version: Version, files: Sequence[Path]) -> Iterator[pd.DataFrame]:
    """Yield the answers to the files' rows, a batch at a time: `file`, `row`, the answer, and which model gave it."""
    for group in _groups(files):
        requests = predictor.preprocessor.read_requests(group)
        for start in range(0, len(requests), BATCH_ROWS):
            batch = requests.iloc[start : start + BATCH_ROWS]
            answers = predictor.predict(batch)
            for place, column in enumerate(name for name in ("file", "row") if name in batch.columns):
                answers.insert(place, column, batch[column])
            yield answers.assign(version=str(version), model_sha256=version.model_sha256)


def table(predictions: Predictions) -> Table:
    """The first answers for a terminal."""
    from rich.table import Table

    shown = [name for name in predictions.head.columns if name not in ("version", "model_sha256")]
    shown = [name for name in shown if not str(name).startswith("probability_")]
    form = "" if predictions.variant == "fp32" else f" ({predictions.variant})"
    title = f"{predictions.num_rows} rows, answered by {predictions.version}{form}"
    made = Table(title=title, title_justify="left")
    for name in shown:
        made.add_column(str(name), overflow="fold")
    for row in predictions.head[shown].itertuples(index=False):
        made.add_row(*(_text(value, predictions.titles) for value in row))
    if predictions.num_rows > len(predictions.head):
        made.caption = f"{predictions.num_rows - len(predictions.head)} more; --output FILE keeps them all"
    return made


def _text(value: Any, titles: Mapping[str, str]) -> str:
    """A cell for people: items with their titles, several after each other."""
    if isinstance(value, list | tuple):
        return "; ".join(_text(one, titles) for one in value)
    if isinstance(value, float):
        return f"{value:.4f}"
    return f"{value} {titles[value]}" if isinstance(value, str) and value in titles else str(value)


def _check(files: Sequence[Path], output: Path | None, version: str | None, alias: str | None) -> None:
    """Refuse what cannot work before anything is loaded."""
    from flywheel.reader.format.folder import check_name

    if version is not None and alias is not None:
        raise FlywheelError("a version and an alias are both given", fix="give one of them")
    if not files:
        raise DataError("predict", None, "no files given", fix="name at least one")
    for file in files:
        check_name(file)
        if not file.exists():
            raise DataError(file, None, "no such file", fix="check the path")
    if output not in (None, STDOUT) and output.suffix.lower() not in ENDINGS:
        what = f"answers are not written as '{output.suffix}'"
        raise FlywheelError(what, where=output, fix=nearest(output.suffix, ENDINGS))


def _groups(files: Sequence[Path]) -> Iterator[list[Path]]:
    """Files to read at a time: small ones together, folders and large files alone."""
    group: list[Path] = []
    num_bytes = 0
    for file in files:
        size = GROUP_BYTES if file.is_dir() else file.stat().st_size
        if group and (len(group) >= GROUP_FILES or num_bytes + size > GROUP_BYTES):
            yield group
            group, num_bytes = [], 0
        group.append(file)
        num_bytes += size
    if group:
        yield group


@contextlib.contextmanager
def _writing(output: Path | None) -> Iterator[Callable[[pd.DataFrame], None]]:
    """Give what adds answers to the file, as its ending says; None: they are dropped."""
    if output is None:
        yield lambda answers: None
        return
    if output == STDOUT:
        yield lambda answers: _write_jsonl(answers, sys.stdout)
        return
    kinds = {".csv": _csv, ".parquet": _parquet, ".jsonl": _jsonl}
    with whole_file(output) as part, kinds[output.suffix.lower()](part) as write:
        yield write


@contextlib.contextmanager
def _csv(file: Path) -> Iterator[Callable[[pd.DataFrame], None]]:
    with file.open("w", encoding="utf-8", newline="") as stream:
        yield lambda answers: answers.to_csv(stream, header=stream.tell() == 0, index=False)


@contextlib.contextmanager
def _jsonl(file: Path) -> Iterator[Callable[[pd.DataFrame], None]]:
    with file.open("w", encoding="utf-8") as stream:
        yield lambda answers: _write_jsonl(answers, stream)


def _write_jsonl(answers: pd.DataFrame, stream: TextIO) -> None:
    answers.to_json(stream, orient="records", lines=True, force_ascii=False, double_precision=9)


@contextlib.contextmanager
def _parquet(file: Path) -> Iterator[Callable[[pd.DataFrame], None]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with contextlib.ExitStack() as stack:
        writers: list[Any] = []

        def write(answers: pd.DataFrame) -> None:
            rows = pa.Table.from_pandas(answers, preserve_index=False)
            if not writers:  # the first frame says what the columns are
                writers.append(stack.enter_context(pq.ParquetWriter(file, rows.schema)))
            writers[0].write_table(rows)

        yield write

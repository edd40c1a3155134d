"""The interface of preprocessors: learn from train, clean, transform, describe itself, and be rebuilt from JSON."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from flywheel.project.errors import DataError
from flywheel.project.instantiate import locate
from flywheel.project.kind import Kind, name_of
from flywheel.project.types import Dropped, Json, Preview
from flywheel.reader.format.table_file import TableFormat

DIGEST_BYTES = 16
GROUP = "group"
"""The column, and the tensor of `test.safetensors` (int32 [N]), that says which rows belong together."""
SAMPLE_WEIGHT = "sample_weight"
"""The column that says how much a row counts in training; a column `weight` may well be an input."""
WEIGHT = "weight"
"""The tensor with the rows' weights, float32 [N], where there are any."""
RESERVED_COLUMNS = ("label", "error", "file", "row", GROUP, SAMPLE_WEIGHT)
"""Columns of a frame that are not inputs: the label, why a row is bad, its source, group and weight."""


class Preprocessor(ABC):
    """Turns rows into the arrays that a network takes.

    `fit` sees train only. Everything it learns is in `to_json`, so that `from_json` gives an equal object.
    """

    @abstractmethod
    def fit(self, chunks: Iterable[pd.DataFrame]) -> None:
        """Learn from the training rows; the result must not depend on where the chunks begin and end.

        What is done to each chunk alone goes through `flywheel.preprocessor.chunks.mapped`.
        """

    @abstractmethod
    def clean(self, frame: pd.DataFrame) -> tuple[pd.DataFrame, list[Dropped]]:
        """Separate the usable rows from the others.

        Returns:
            The usable rows, in the form `digest` and `fit` take, and each other row with its reason.
        """

    @abstractmethod
    def transform(self, frame: pd.DataFrame) -> dict[str, np.ndarray[Any, Any]]:
        """Give the inputs by name, [N, ...] each.

        Raises:
            DataError: A row cannot be used.
        """

    @abstractmethod
    def meta(self) -> Json:
        """Settings for the network: `inputs` (dtype, shape, scaling of each), and flat keys such as sizes."""

    @abstractmethod
    def schema(self) -> Json:
        """JSON Schema of one request."""

    @abstractmethod
    def preview(self, inputs: dict[str, np.ndarray[Any, Any]], index: int) -> Preview:
        """Make a preview of one example of transformed inputs."""

    @abstractmethod
    def read_requests(self, paths: Sequence[Path], table: TableFormat | None = None) -> pd.DataFrame:
        """Read the files a user gives to `flywheel predict`; the column `file` says where each row came from.

        Args:
            paths: Files to read.
            table: Format of the table that the task learnt from; other tables may have it too.

        Raises:
            DataError: A file is missing, or of a kind that is not read.
        """

    @abstractmethod
    def to_json(self) -> Json:
        """The settings and everything learnt, with `_target_`."""

    @classmethod
    @abstractmethod
    def from_json(cls, state: Json) -> Preprocessor:
        """Rebuild what `to_json` described.

        Raises:
            DataError: A key of the state is missing.
        """

    @property
    def settled(self) -> bool:
        """Whether `clean` treats a row the same whatever it has cleaned before: then chunks may be cleaned apart."""
        return True

    def met(self, columns: Sequence[str]) -> None:  # noqa: B027 - most need not know
        """Note the columns of a raw frame that a copy of this object has cleaned in another process."""

    def digest(self, frame: pd.DataFrame) -> np.ndarray[Any, Any]:
        """Give each cleaned row's inputs as 128 bits, uint64 [N, 2]; equal inputs, and only those, have equal bits."""
        inputs = frame.drop(columns=[name for name in RESERVED_COLUMNS if name in frame.columns])
        rows = (repr(row).encode() for row in inputs.itertuples(index=False, name=None))
        return digests_of(hashlib.blake2b(row, digest_size=DIGEST_BYTES).digest() for row in rows)

    def near(self, frame: pd.DataFrame) -> np.ndarray[Any, Any] | None:
        """Give a fingerprint of each cleaned row's content, uint64 [N]; None where only equal rows are duplicates.

        Rows with one fingerprint (a text and its copy with other punctuation) are kept together when parts are drawn,
        and such rows of train are dropped where their like is in validation or test.
        """
        return None

    def statistics(self, frame: pd.DataFrame, inputs: dict[str, np.ndarray[Any, Any]]) -> dict[str, Any]:
        """Statistics of each split for `profile.json`: numbers, or arrays, that are added up over its rows.

        Args:
            frame: Cleaned rows of one split.
            inputs: Arrays from `transform`.
        """
        return {}

    def describe(self, statistics: dict[str, Any]) -> Json:
        """Turn a split's sums into its entry in `profile.json`; by default the sums themselves."""
        return statistics

    @property
    def has_words(self) -> bool:
        """Whether a raw row holds text, which reads better than the network's inputs."""
        return False

    def words(self, frame: pd.DataFrame) -> list[str]:
        """Give the shortened text of each raw row, if `has_words`."""
        raise NotImplementedError

    def item_titles(self) -> dict[str, str]:
        """Titles of the items that may be answered, by identifier; empty where they have none."""
        return {}

    def facts(self) -> Json:
        """Facts learnt from train, for `profile.json`."""
        return {}


def digests_of(digests: Iterable[bytes]) -> np.ndarray[Any, Any]:
    """Stack digests of 16 bytes as uint64 [N, 2]."""
    return np.frombuffer(b"".join(digests), dtype="<u8").reshape(-1, 2)


def target_name(kind: type) -> str:
    """The `_target_` under which `rebuild` finds a class again."""
    return name_of(kind)


def rebuild(state: Any, kind: Kind, file: str | Path, key: str) -> Any:
    """Rebuild what `to_json` described, from an untrusted file.

    Args:
        state: Value at `key` of the file.
        kind: Expected base class.
        file: The file of the state, for messages.
        key: The key of the state, for messages.

    Raises:
        DataError: The state does not describe such an object, or not all of it was understood.
        ConfigError: It names a class that may not stand there.
    """
    again = "run the preprocess stage again"
    if not isinstance(state, dict):
        raise DataError(file, None, f"has no '{key}'", fix=again)
    found = locate(state, kind, where=f"{Path(file).name}: {key}", stored=True)
    try:
        made = found.from_json(state)
        told = made.to_json()
    except (AttributeError, LookupError, TypeError, ValueError, ArithmeticError, RuntimeError) as error:
        raise DataError(file, None, f"its {key} is not a {found.__name__}'s: {error!r}", fix=again) from None
    # A value that was read as another, or not at all, would change answers in silence.
    if odd := _differs(state, told, key):
        raise DataError(file, None, f"{odd} is not a value of a {found.__name__}", fix=again)
    return made


def _differs(state: Any, told: Any, key: str) -> str:
    """The first key of a state whose value differs after rebuilding; missing keys are ignored."""
    if isinstance(state, dict) and isinstance(told, dict):
        pairs = [(state[name], told.get(name, ...), f"{key}.{name}") for name in state]
    elif isinstance(state, list) and isinstance(told, list | tuple) and len(state) == len(told):
        pairs = [(*pair, f"{key}[{number}]") for number, pair in enumerate(zip(state, told, strict=True))]
    else:
        same = isinstance(state, bool) == isinstance(told, bool) and state == told
        return "" if same or (state != state and told != told) else key  # NaN is not a number that equals itself
    return next((found for pair in pairs if (found := _differs(*pair))), "")

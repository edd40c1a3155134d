"""Several preprocessors as one: each works on its own columns of a row, and its inputs carry its name."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from flywheel.preprocessor.base import (
    DIGEST_BYTES,
    RESERVED_COLUMNS,
    Preprocessor,
    digests_of,
    rebuild,
    target_name,
)
from flywheel.preprocessor.chunks import Mapped
from flywheel.project.errors import DataError
from flywheel.project.kind import PREPROCESSOR
from flywheel.project.types import Dropped, Json, Preview
from flywheel.reader.format.table_file import TableFormat

NEAR_BYTES = 8
FIX = "run the preprocess stage again"

Array = np.ndarray[Any, Any]


class JointPreprocessor(Preprocessor):
    """Parts of any modality, side by side.

    An input `tokens` of the part `title` is named `title_tokens`, and a flat key `vocabulary_size` of its meta
    `title_vocabulary_size`. A row is dropped where any part drops it, and two rows are equal where all parts say so.

    Args:
        parts: The preprocessors by name.
        columns: The columns that a part sees, by its name. A part that is not named here sees all columns that no other
            part is given; columns that are not inputs (`label`, `file`, ...) are seen by all.

    Raises:
        ValueError: There is no part, a name cannot stand before an input's, or `columns` names no part.
    """

    def __init__(self, parts: Mapping[str, Preprocessor], columns: Mapping[str, Sequence[str]] | None = None) -> None:
        check_part_names(parts)
        for name, part in parts.items():
            if not isinstance(part, Preprocessor):
                raise ValueError(f"part '{name}' is not a Preprocessor but a {type(part).__name__}: name its _target_")
        self.parts = dict(parts)
        self.columns = {name: list(own) for name, own in (columns or {}).items()}
        strange = [name for name in self.columns if name not in parts]
        if strange:
            raise ValueError(f"columns names '{strange[0]}', which is not one of the parts {', '.join(parts)}")

    def fit(self, chunks: Iterable[pd.DataFrame]) -> None:
        """Let every part learn, one after the other.

        Args:
            chunks: Gone through once for each part; what can be gone through only once is held in memory.
        """
        again = list(chunks) if isinstance(chunks, Iterator) else chunks
        for name, part in self.parts.items():
            part.fit(Mapped(partial(self.view, name=name), again))

    @property
    def settled(self) -> bool:
        """Whether every part is."""
        return all(part.settled for part in self.parts.values())

    def met(self, columns: Sequence[str]) -> None:
        """Tell every part of the columns that it sees."""
        seen = pd.DataFrame(columns=list(columns))
        for name, part in self.parts.items():
            part.met(list(self.view(seen, name).columns))

    def clean(self, frame: pd.DataFrame) -> tuple[pd.DataFrame, list[Dropped]]:
        """Clean every part's columns; a row is dropped by the first part that cannot use it."""
        left, dropped, cleaned = frame, [], []
        for name, part in self.parts.items():
            kept, lost = part.clean(self.view(left, name))
            left = left.loc[kept.index] if lost else left
            dropped += lost
            cleaned.append(kept.drop(columns=[column for column in RESERVED_COLUMNS if column in kept.columns]))
        columns = {column: kept[column].loc[left.index] for kept in cleaned for column in kept.columns}
        return left.drop(columns="error", errors="ignore").assign(**columns), dropped

    def transform(self, frame: pd.DataFrame) -> dict[str, Array]:
        """Give every part's inputs, `<part>_<input>`."""
        return {
            f"{name}_{key}": values
            for name, part in self.parts.items()
            for key, values in part.transform(self.view(frame, name)).items()
        }

    def digest(self, frame: pd.DataFrame) -> Array:
        """Hash the parts' digests."""
        found = [part.digest(self.view(frame, name)) for name, part in self.parts.items()]
        return digests_of(_hashes(np.concatenate(found, axis=1), DIGEST_BYTES))

    def near(self, frame: pd.DataFrame) -> Array | None:
        """Hash the parts' fingerprints, uint64 [N]; the digest stands for one that a part does not give."""
        views = {name: self.view(frame, name) for name in self.parts}
        found = {name: part.near(views[name]) for name, part in self.parts.items()}
        if all(gist is None for gist in found.values()):
            return None
        columns = [
            self.parts[name].digest(views[name]) if gist is None else gist[:, None] for name, gist in found.items()
        ]
        return np.frombuffer(b"".join(_hashes(np.concatenate(columns, axis=1), NEAR_BYTES)), dtype="<u8")

    def statistics(self, frame: pd.DataFrame, inputs: dict[str, Array]) -> dict[str, Any]:
        """What each part counts, under `<part>_<key>`."""
        return {
            f"{name}_{key}": value
            for name, part in self.parts.items()
            for key, value in part.statistics(self.view(frame, name), inputs_of(name, inputs)).items()
        }

    def facts(self) -> Json:
        """What each part has learnt, by its name."""
        found = {name: part.facts() for name, part in self.parts.items()}
        return {name: facts for name, facts in found.items() if facts}

    def meta(self) -> Json:
        """All inputs, and every part's flat keys under `<part>_<key>`."""
        inputs: Json = {}
        flat: Json = {}
        for name, part in self.parts.items():
            own = part.meta()
            inputs |= {f"{name}_{key}": spec for key, spec in own.pop("inputs").items()}
            flat |= {f"{name}_{key}": value for key, value in own.items()}
        return {"inputs": inputs, **flat}

    def schema(self) -> Json:
        """One request with the columns of all parts; one that two parts take must satisfy both."""
        properties: Json = {}
        required: dict[str, None] = {}
        for part in self.parts.values():
            own = part.schema()
            for column, spec in own["properties"].items():
                both = {"allOf": [properties.get(column), spec]}
                properties[column] = spec if properties.get(column, spec) == spec else both
            required |= dict.fromkeys(own.get("required", []))
        return {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object",
            "properties": properties,
            "required": list(required),
        }

    def preview(self, inputs: dict[str, Array], index: int) -> Preview:
        """The first part's picture that there is, and all parts' texts."""
        shown = [part.preview(inputs_of(name, inputs), index) for name, part in self.parts.items()]
        texts = [one.text for one in shown if one.text]
        return Preview(next((one.image for one in shown if one.image is not None), None), " · ".join(texts) or None)

    @property
    def has_words(self) -> bool:
        """Whether any part has."""
        return any(part.has_words for part in self.parts.values())

    def words(self, frame: pd.DataFrame) -> list[str]:
        """The words of all parts that have some."""
        found = [part.words(self.view(frame, name)) for name, part in self.parts.items() if part.has_words]
        return [" · ".join(row) for row in zip(*found, strict=True)]

    def read_requests(self, paths: Sequence[Path], table: TableFormat | None = None) -> pd.DataFrame:
        """Read files that every part can read, such as a table with the columns of all."""
        read = [part.read_requests(paths, table) for part in self.parts.values()]
        made = read[0]
        for name, frame in zip(list(self.parts)[1:], read[1:], strict=True):
            if not made[["file", "row"]].astype(str).equals(frame[["file", "row"]].astype(str)):
                why = (
                    f"gives part '{name}' other rows ({len(frame)}) than part '{next(iter(self.parts))}' ({len(made)})"
                )
                raise DataError(paths[0], None, why, fix="give tables with the columns of all parts")
            made = made.assign(**{column: frame[column] for column in frame.columns if column not in made.columns})
        last = [column for column in made.columns if column in RESERVED_COLUMNS]
        return made[[*(column for column in made.columns if column not in last), *last]]

    def to_json(self) -> Json:
        """The parts' states, and which columns they see."""
        parts = {name: part.to_json() for name, part in self.parts.items()}
        return {"_target_": target_name(type(self)), "parts": parts, "columns": self.columns}

    @classmethod
    def from_json(cls, state: Json) -> JointPreprocessor:
        """Rebuild a fitted preprocessor, part by part.

        Raises:
            DataError: The state lacks something.
            ConfigError: A part's class is outside the allow-list.
        """
        try:
            parts = {
                name: rebuild(node, PREPROCESSOR, "preprocessor.json", f"inputs.parts.{name}")
                for name, node in state["parts"].items()
            }
            return cls(parts, state["columns"])
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            why = f"its inputs are not a JointPreprocessor's: {error!r}"
            raise DataError("preprocessor.json", None, why, fix=FIX) from None

    def view(self, frame: pd.DataFrame, name: str) -> pd.DataFrame:
        """The columns that a part sees; those that it lacks are for the part itself to miss."""
        own = self.columns.get(name)
        if own is not None:
            return frame[[column for column in frame.columns if column in own or column in RESERVED_COLUMNS]]
        others = {column for columns in self.columns.values() for column in columns}
        return frame[[column for column in frame.columns if column not in others]] if others else frame


def check_part_names(names: Iterable[str]) -> None:
    """Refuse names whose end could not be distinguished from the beginning of an input's name.

    Raises:
        ValueError: There are none, one is not a word, or one and `_` begin another.
    """
    known = list(names)
    if not known:
        raise ValueError("parts are empty: name at least one")
    for name in known:
        if not (name.isidentifier() and name.isascii()):
            raise ValueError(f"part '{name}' is not a plain word: use letters, digits and _")
        longer = [other for other in known if other.startswith(f"{name}_")]
        if longer:
            raise ValueError(f"parts '{name}' and '{longer[0]}' cannot be told apart: rename one")


def inputs_of(name: str, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """One part's inputs, under its own names."""
    prefix = f"{name}_"
    return {key.removeprefix(prefix): values for key, values in inputs.items() if key.startswith(prefix)}


def _hashes(rows: Array, num_bytes: int) -> Iterator[bytes]:
    """Hash each row of uint64 [N, M]."""
    rows = np.ascontiguousarray(rows, dtype="<u8")
    return (hashlib.blake2b(row.tobytes(), digest_size=num_bytes).digest() for row in rows)

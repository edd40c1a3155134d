"""What a row consists of: parts that can be hidden, and values that can be chosen, whatever kind it is of."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from importlib import resources
from typing import Any, NamedTuple, cast

import numpy as np
import pandas as pd

from flywheel.preprocessor.base import Preprocessor
from flywheel.preprocessor.target import Target
from flywheel.project.companion import MODALITIES, companion_of
from flywheel.project.types import Json

Array = np.ndarray[Any, Any]

PLAIN = "plain"
"""The form of inputs whose kind of data has no `field.js`: the page makes it from the schema alone."""
MAX_PARTS = 64
"""Of one input; more of them are hidden several at a time."""


@dataclass(frozen=True)
class Parts:
    """What one input of a row consists of.

    Attributes:
        kind: Kind of the parts: `grid` (of a picture), `words`, `spans` (of a recording), `columns`, `items`, ...
        frame: Raw rows as `Predictor.scores` takes them, each with something hidden.
        hides: bool [rows of `frame`, parts]: what each row hides.
        about: Facts for drawing the parts: names, places, sizes.
        input: Name of the input; filled in where there are several.
        form: Form that draws them; filled in by `parts_of`.
    """

    kind: str
    frame: pd.DataFrame
    hides: Array
    about: Json = field(default_factory=dict)
    input: str = ""
    form: str = ""


class Field(NamedTuple):
    """How a page asks for one input of a row.

    Attributes:
        form: The kind of data whose folder holds the form, or `PLAIN`.
        about: Facts for the form, beyond the schema and the choices.
        answers: Whether what is answered is one of the input's choices.
    """

    form: str
    about: Json
    answers: bool = False


class Load(NamedTuple):
    """What a row asks for, as it stands: nothing has been decoded yet.

    Attributes:
        pixels: Pixels of pictures, once they are decoded.
        samples: Samples of recordings, over all channels.
        characters: Characters of texts, and values in lists.
        answers: Values that its answer holds.
    """

    pixels: int = 0
    samples: int = 0
    characters: int = 0
    answers: int = 0


def _of(made: Preprocessor | Target) -> Any:
    """The module that knows the rows, or the answers, of this kind; None where there is none."""
    return companion_of(type(made), "row")


def load_of(inputs: Preprocessor, row: Json) -> Load:
    """Tell how much a row holds, by the headers of its files; of what cannot be read, nothing."""
    found = _of(inputs)
    load = getattr(found, "load_of", None)
    return cast(Load, load(inputs, row)) if load is not None else Load(characters=characters_of(row))


def num_answers(target: Target, row: Json) -> int | None:
    """Tell how many values the answer to a row holds; None: as many as that to any other."""
    found = _of(target)
    number = getattr(found, "num_answers", None)
    return cast(int, number(target, row)) if number is not None else None


def characters_of(value: Any) -> int:
    """Count the characters of a text, or of everything in a list or mapping; each other value is one."""
    if value is None or isinstance(value, int | float):  # most values of tables: the rest of the questions cost more
        return 1
    if isinstance(value, str | bytes):
        return len(value)
    if isinstance(value, dict):
        value = value.values()
    elif not isinstance(value, list | tuple):
        return 1
    number, pending = 0, [value]
    while pending:
        for item in pending.pop():
            if isinstance(item, str | bytes):
                number += len(item)
            elif isinstance(item, list | tuple):
                pending.append(item)
            elif isinstance(item, dict):
                pending.append(item.values())
            number += 1
    return number


def parts_of(inputs: Preprocessor, frame: pd.DataFrame) -> list[Parts]:
    """Give the parts of one raw row; none where its kind of preprocessor has no way to hide any."""
    found = _of(inputs)
    parts = getattr(found, "parts_of", None)
    groups = cast("list[Parts]", parts(inputs, frame)) if parts is not None else []
    return [group if group.form else replace(group, form=form_of(inputs)) for group in groups]


def choices_of(inputs: Preprocessor) -> dict[str, list[Json]]:
    """Give values that a person may choose from, by input: `value`, and `title` where it has one."""
    found = _of(inputs)
    choices = getattr(found, "choices_of", None)
    return cast("dict[str, list[Json]]", choices(inputs)) if choices is not None else {}


@functools.cache
def forms() -> dict[str, bytes]:
    """The script `field.js` of each kind of data that has one in its folder, by the folder's name."""
    files = {room.name: room / "field.js" for room in resources.files(MODALITIES).iterdir()}
    return {name: file.read_bytes() for name, file in sorted(files.items()) if file.is_file()}


def form_of(inputs: Preprocessor) -> str:
    """Name the form of a preprocessor's inputs: that of its class, or of the nearest one that it inherits from."""
    homes = [parent.__module__.split(".") for parent in type(inputs).__mro__]
    rooms = [home[2] for home in homes if ".".join(home[:2]) == MODALITIES]
    return next((room for room in rooms if room in forms()), PLAIN)


def fields_of(inputs: Preprocessor) -> dict[str, Field]:
    """Give each input's field: one of the form of this kind, except where the kind has more to say."""
    fields = getattr(_of(inputs), "fields_of", None)
    usual = {name: Field(form_of(inputs), {}) for name in inputs.schema()["properties"]}
    return usual if fields is None else usual | cast("dict[str, Field]", fields(inputs))


def hidden_rows(frame: pd.DataFrame, column: str, values: Sequence[Any]) -> pd.DataFrame:
    """Repeat a row with other values in one column."""
    repeated = frame.iloc[[0] * len(values)].reset_index(drop=True)
    return repeated.assign(**{column: objects(values)})


def objects(values: Sequence[Any]) -> Array:
    """Make an array of objects, which numpy must not take apart."""
    column = np.empty(len(values), dtype=object)
    for place, value in enumerate(values):
        column[place] = value
    return column


def one_each(number: int) -> Array:
    """`Parts.hides` where each row hides one part."""
    return np.eye(number, dtype=bool)

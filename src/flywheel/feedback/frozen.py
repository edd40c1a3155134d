"""What no feedback may repeat: the rows of test and validation, as the network sees them and by their gist.

The test set says how good a model is; once a model has seen one of its rows, it says nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from safetensors import SafetensorError, safe_open

from flywheel.preprocessor.base import DIGEST_BYTES, GROUP, WEIGHT, Preprocessor
from flywheel.project.errors import DataError
from flywheel.project.types import SPLITS, Json, Split, Splits
from flywheel.project.whole import read_json

Array = np.ndarray[Any, Any]

HELD_OUT = ("test", "validation")
CHUNK_ROWS = 2048
NO_INPUTS = ("target", "row", GROUP, WEIGHT)
ITEM = "item"


@dataclass
class Frozen:
    """The held-out rows of a task.

    Attributes:
        inputs: 128-bit hash of each row's arrays, by split.
        gists: By split, the `near` fingerprints, where the preprocessor has them.
        pairs: By split, a user and the item that the row foretells, where items are learnt.
        sha256: The sha256 of each split's file of arrays.
        shared: 128 bits of the inputs that several rows of the data set have, where such rows are observations of their
            own: they tell no row from another.
        keeps_equal: Whether equal rows of the data set are observations of their own.
    """

    inputs: dict[str, set[bytes]] = field(default_factory=dict)
    gists: dict[str, set[int]] = field(default_factory=dict)
    pairs: dict[str, set[tuple[int, int]]] = field(default_factory=dict)
    sha256: dict[str, str] = field(default_factory=dict)
    shared: set[bytes] = field(default_factory=set)
    keeps_equal: bool = False

    def split_of(self, digest: bytes, gist: int | None, pair: tuple[int, int] | None) -> str | None:
        """The held-out split that has such a row; None: none has."""
        for split in HELD_OUT:
            same = (digest in self.inputs[split] and digest not in self.shared) or (
                gist is not None and gist in self.gists.get(split, ())
            )
            if same or (pair is not None and pair in self.pairs[split]):
                return split
        return None


@dataclass(frozen=True)
class Own:
    """The data set's own rows of train.

    Attributes:
        targets: Encoded targets, [N].
        groups: Rows of each class or item, by its name; of numbers all under ''.
    """

    targets: Array
    groups: Mapping[str, int]

    @property
    def num_rows(self) -> int:
        """How many there are."""
        return len(self.targets)


def read_frozen(processed: Path, splits: Splits, inputs: Preprocessor, *, keeps_equal: bool = False) -> Frozen:
    """Read the held-out rows of processed data.

    Args:
        processed: `data/processed/<task>/`.
        splits: The raw data, read anew only where the preprocessor knows gists.
        inputs: The fitted preprocessor.
        keeps_equal: Whether rows with equal inputs are observations of their own (`preprocess.overlap: keep`).

    Raises:
        DataError: The processed data are missing or damaged, or of other raw data.
    """
    meta = read_json(processed / "meta.json")
    found = Frozen(sha256={name: str(meta["sha256"][name]) for name in HELD_OUT})
    for name in HELD_OUT:
        arrays = _arrays(processed / f"{name}.safetensors")
        target, rows = arrays.pop("target"), arrays.pop("row")
        arrays = {key: array for key, array in arrays.items() if key not in NO_INPUTS}  # what the network gets
        found.inputs[name] = set(row_digests(meta, arrays, target))
        found.pairs[name] = {pair for pair in pairs_of(meta, arrays, target) if pair is not None}
        gists = _gists(splits[name if name in splits else "train"], rows, inputs)
        if gists is not None:
            found.gists[name] = gists
    if keeps_equal and meta["target"]["kind"] != ITEM:
        found.shared, found.keeps_equal = _shared(processed), True
    return found


def _shared(processed: Path) -> set[bytes]:
    """Hash the inputs that two of the data set's own rows or more have, in whatever parts they are."""
    num_own = int(read_json(processed / "profile.json")["raw"]["train"])
    seen: set[bytes] = set()
    twice: set[bytes] = set()
    for name in SPLITS:
        arrays = _arrays(processed / f"{name}.safetensors")
        digests = network_digests({key: array for key, array in arrays.items() if key not in (*NO_INPUTS, GROUP)})
        for digest, row in zip(digests, arrays["row"].tolist(), strict=True):
            if name != "train" or row < num_own:  # those behind them came from feedback
                (twice if digest in seen else seen).add(digest)
    return twice


def read_own(processed: Path) -> Own:
    """Count the data set's own rows of train; those that came from feedback are left out.

    Raises:
        DataError: The processed data are missing or damaged.
    """
    meta, profile = read_json(processed / "meta.json"), read_json(processed / "profile.json")
    arrays = _arrays(processed / "train.safetensors", only=NO_INPUTS)
    targets = arrays["target"][arrays["row"] < int(profile["raw"]["train"])]
    names = meta.get("classes") or meta.get("items")
    if names is None:
        return Own(targets, {"": len(targets)})
    counts = np.bincount(targets, minlength=len(names)).tolist()
    return Own(targets, {str(name): int(count) for name, count in zip(names, counts, strict=True)})


def row_digests(meta: Json, arrays: Mapping[str, Array], target: Array) -> list[bytes]:
    """Hash what makes a row the same as a held-out one: 128 bits of what the network gets.

    Where items are learnt, one user has several rows, and a row is the same if the same item follows the same history.
    """
    if meta["target"]["kind"] != ITEM:
        return network_digests(arrays)
    return network_digests({**{name: array for name, array in arrays.items() if name != "user"}, "item": target})


def network_digests(arrays: Mapping[str, Array]) -> list[bytes]:
    """Hash what the network gets of each row: 128 bits."""
    names = sorted(arrays)
    columns = [np.ascontiguousarray(arrays[name]) for name in names]
    found = []
    for row in range(len(columns[0]) if columns else 0):
        digest = hashlib.blake2b(digest_size=DIGEST_BYTES)
        for name, column in zip(names, columns, strict=True):
            digest.update(name.encode())
            digest.update(column[row].tobytes())
        found.append(digest.digest())
    return found


def pairs_of(meta: Json, arrays: Mapping[str, Array], target: Array) -> list[tuple[int, int] | None]:
    """Each row's user and item, where items are learnt: what is held out of a user's items is not to be told.

    None where something else is learnt, or the user is not known.
    """
    if meta["target"]["kind"] != ITEM or "user" not in arrays:
        return [None] * len(target)
    users = arrays["user"].tolist()
    return [(user, item) if user else None for user, item in zip(users, target.tolist(), strict=True)]


def _gists(split: Split, rows: Array, inputs: Preprocessor) -> set[int] | None:
    """Read the raw rows with these numbers again, for their gists; None where the preprocessor knows none."""
    wanted, found = pd.Index(rows), set[int]()
    for frame in split.chunks(CHUNK_ROWS):
        part = frame[frame.index.isin(wanted)]
        if not len(part):
            continue
        gists = inputs.near(inputs.clean(part)[0])
        if gists is None:
            return None
        found.update(gists.tolist())
    return found


def _arrays(file: Path, only: tuple[str, ...] | None = None) -> dict[str, Array]:
    try:
        with safe_open(file, framework="numpy") as stored:
            return {name: stored.get_tensor(name) for name in stored.keys() if only is None or name in only}  # noqa: SIM118 - no mapping
    except FileNotFoundError:
        raise DataError(file, None, "missing", fix="run `dvc repro` up to the preprocess stage") from None
    except SafetensorError as error:
        raise DataError(file, None, f"damaged: {error}", fix="run `dvc checkout`") from None

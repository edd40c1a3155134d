"""A kind of file that makes an example, as the `guess` of a modality describes it, and what these have in common."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from flywheel.init_task.guess import Guess, Node, counted
from flywheel.project.errors import DataError

MIN_TOKENS, MAX_TOKENS = 16, 256
_TOKEN = re.compile(r"\w+|[^\w\s]")


@dataclass(frozen=True)
class Medium:
    """A kind of file that makes an example.

    Attributes:
        noun: Name of one example, such as `picture`.
        extensions: Endings that tell it, in small letters.
        read: Gives its arguments for the folders of the splits (`train` -> `training`; empty: there are none).
        loose_are_bad: Whether the reader gives files in no class's folder as bad rows, which cleaning counts.
        look: Reads some of the files as the stages do, adds to the guess what the preprocessor must know, and gives
            the files that will be dropped.
        lies_beside: Whether such files often lie beside those of another kind, as notes about them.
    """

    noun: str
    extensions: Sequence[str]
    read: Callable[[dict[str, str]], Node]
    loose_are_bad: bool
    look: Callable[[Guess, list[Path]], set[Path]]
    lies_beside: bool = False


def of_folders(reader: str) -> Callable[[dict[str, str]], Node]:
    """Arguments of a reader, named by its class, that takes each split's folder."""

    def read(splits: dict[str, str]) -> Node:
        folders: Node = {"train": splits.get("train", "."), "test": splits.get("test")}
        if "validation" in splits:
            folders["validation"] = splits["validation"]
        return {"_target_": reader} | folders

    return read


def choose_length(guess: Guess, texts: Sequence[str]) -> None:
    """Choose the number of tokens so that few texts are cut, up to a limit; punctuation marks are tokens, too."""
    words = float(np.quantile([len(_TOKEN.findall(text)) for text in texts], 0.95))
    tokens = min(max(8 * math.ceil(words / 8), MIN_TOKENS), MAX_TOKENS)
    guess.inputs["max_length"] = tokens
    guess.note("length", f"{tokens} tokens", f"95% of the texts have no more than {words:.0f}; longer ones are cut")


def say_bad(guess: Guess, files: list[Path], bad: dict[Path, str], noun: str) -> None:
    """Warn of files that preprocessing will drop, with the reason that it will give.

    Raises:
        DataError: All are bad.
    """
    if not bad:
        return
    first, why = next(iter(bad.items()))
    if len(bad) == len(files):
        fix = f"give {noun}s of the formats that docs/your-own-data.md names"
        raise DataError(first, None, f"{why}; none of the {len(files)} files looked at can be used", fix=fix)
    looked = counted(len(files), "file")
    guess.warn(f"{len(bad)} of {looked} looked at cannot be used: preprocess drops them. {first.name} {why}.")

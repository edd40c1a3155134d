"""Requests for items: the items that a user had, each forgotten, and users and items to choose from."""

from __future__ import annotations

from typing import cast

import pandas as pd

from flywheel.modality.interactions.data.histories import columns_of
from flywheel.modality.interactions.data.preprocessor import InteractionsPreprocessor
from flywheel.preprocessor.base import Preprocessor
from flywheel.project.types import Json
from flywheel.serving.row import MAX_PARTS, Field, Load, Parts, characters_of, form_of, objects, one_each

MAX_USERS, MAX_ITEMS = 500, 5000


def choices_of(inputs: Preprocessor) -> dict[str, list[Json]]:
    """Give the first users, and the most frequent items by their titles."""
    ranker = cast(InteractionsPreprocessor, inputs)
    items = zip(ranker.items[:MAX_ITEMS], ranker.titles, strict=False)
    return {
        "user": [{"value": user} for user in ranker.users[:MAX_USERS]],
        "history": [{"value": item, "title": title} for item, title in items],
    }


def fields_of(inputs: Preprocessor) -> dict[str, Field]:
    """Say that the items of a history are those that are recommended."""
    return {"history": Field(form_of(inputs), {}, answers=True)}


def load_of(inputs: Preprocessor, row: Json) -> Load:
    """Count the characters of the user and of the history."""
    return Load(characters=characters_of([row.get("user"), row.get("history")]))


def parts_of(inputs: Preprocessor, frame: pd.DataFrame) -> list[Parts]:
    """Give the items of the history that was sent, or of the one that is stored for the user; the latest 64 of them."""
    ranker = cast(InteractionsPreprocessor, inputs)
    users, histories = columns_of(frame)
    codes = ranker.transform(frame)["history"][0]
    names, titles = ranker.items, ranker.titles
    held = [int(code) - 1 for code in codes if code][-MAX_PARTS:]
    before = [int(code) - 1 for code in codes if code][: -len(held) or None] if held else []
    lists = [[names[code] for code in before + held[:place] + held[place + 1 :]] for place in range(len(held))]
    hidden = pd.DataFrame({"user": objects([users[0]] * len(held)), "history": objects(lists)})
    if "k" in frame.columns:
        hidden["k"] = objects([frame["k"].iloc[0]] * len(held))
    about = {
        "names": [names[code] for code in held],
        "titles": [titles[code] for code in held],
        "sent": histories[0] is not None,
    }
    return [Parts("items", hidden, one_each(len(held)), about, "history")]

"""Who asks for items, and what they had before: users and histories as codes."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from flywheel.modality.interactions.data.histories import (
    Array,
    LearntHistories,
    code_histories,
    columns_of,
    repeated_rows,
    until,
    without,
)
from flywheel.modality.interactions.data.table import identifiers
from flywheel.modality.interactions.data.target import count_items, item_order, natural
from flywheel.preprocessor.base import DIGEST_BYTES, Preprocessor, digests_of, target_name
from flywheel.preprocessor.table_requests import read_table_requests
from flywheel.project.errors import DataError
from flywheel.project.types import Dropped, Json, Preview
from flywheel.reader.format.table_file import TableFormat
from flywheel.reader.format.value import object_column

PREVIEWED = 5


class InteractionsPreprocessor(Preprocessor):
    """Gives `user`, int32 [N] (0: not known), and `history`, int16 or int32 [N, H] (item codes, the most recent last).

    Item code j + 1 is the item of column j of the scores, in the order of `item_target.item_order`; 0 is padding, on
    the right. Items of a history that are in no train row are left out.

    What each user had in train is kept, so that a request may name a user and nothing else. A history in a request
    takes its place. A user who is not known and gives no history is answered with what suits anybody.

    Feedback that names a user and no history adds its item to the end of what that user had, and such a row's own
    history is what was there before its item.

    Args:
        history_length: H; longer histories lose their oldest items, which may then be recommended again. None: the
            longest in train and two more, so that the rows held out of a user's last interactions fit as well.
    """

    def __init__(self, history_length: int | None = None) -> None:
        if history_length is not None and history_length < 1:
            raise ValueError(f"history_length must be at least 1, not {history_length}")
        self.history_length = history_length
        self._learnt = LearntHistories()

    @property
    def items(self) -> list[str]:
        """The catalogue: the items of train, the most frequent first."""
        return self._known().items

    def item_titles(self) -> dict[str, str]:
        """Titles by item, of those that have one."""
        return {item: title for item, title in zip(self.items, self.titles, strict=True) if title != item}

    @property
    def titles(self) -> list[str]:
        """What each item is called; itself, where train says nothing."""
        return self._known().titles

    @property
    def users(self) -> list[str]:
        """The users of train."""
        return self._known().users

    def fit(self, chunks: Iterable[pd.DataFrame]) -> None:
        """Learn the items and how often each is taken, the users and what each of them had, and titles.

        Raises:
            DataError: There are no rows.
        """
        counts: Counter[str] = Counter()
        titles: dict[str, str] = {}
        had: dict[str, tuple[float, int, list[str]]] = {}
        longest = 0
        for frame in chunks:
            count_items(counts, frame["label"])
            labels = identifiers(frame["label"])
            if "title" in frame.columns:
                titles.update({item: str(title) for item, title in zip(labels, frame["title"], strict=True)
                               if item is not None and isinstance(title, str)})  # fmt: skip
            times = frame["time"].to_numpy(np.float64) if "time" in frame.columns else np.full(len(frame), np.nan)
            # Of rows at one time the last in the user's order counts, wherever it stands in the file.
            places = frame["place"].tolist() if "place" in frame.columns else [0] * len(frame)
            rows = zip(*columns_of(frame), labels, times.tolist(), places, strict=True)
            for user, history, label, time, place in rows:
                # A row without a time is feedback: it is later than all others.
                when = np.inf if time != time else time
                before = history or ()
                if user is not None and label is not None:
                    if history is None and user in had:
                        latest, latest_place, held = had[user]
                        when, place, before = max(when, latest), latest_place + 1, without(held, label)
                    if user not in had or (when, place) >= had[user][:2]:
                        had[user] = (when, place, [*before, label])
                longest = max(longest, len(before))
        if not counts:
            raise DataError("train", None, "holds no interactions to learn from")
        items, users = item_order(counts), sorted(had, key=natural)
        self._learnt = LearntHistories(items, users, self.history_length or longest + 2)
        self._learnt.item_counts = [counts[item] for item in items]
        self._learnt.titles = [titles.get(item, item) for item in items]
        self._learnt.histories = self._codes([had[user][2] for user in users])

    def clean(self, frame: pd.DataFrame) -> tuple[pd.DataFrame, list[Dropped]]:
        """Bring users and histories into one form; rows whose item is in their own history cannot be used."""
        users, histories = columns_of(frame)
        errors = frame["error"] if "error" in frame.columns else [None] * len(frame)
        repeated = repeated_rows(frame, histories)
        good, dropped = [], []
        for place, (row, error) in enumerate(zip(frame.index, errors, strict=True)):
            why = error if isinstance(error, str) and error else None
            if why is None and repeated[place]:
                why = "its item is in the user's own history"
            if why is None and users[place] is None and histories[place] is None:
                why = "gives neither user nor history"
            if why is None:
                good.append(place)
            else:
                dropped.append(Dropped(int(row), why))
        cleaned = frame.assign(user=object_column(users), history=object_column(histories))
        return (cleaned.iloc[good] if dropped else cleaned).drop(columns="error", errors="ignore"), dropped

    def transform(self, frame: pd.DataFrame) -> dict[str, Array]:
        """Give `user` and `history`.

        A stored history, of a row that has a `label`, ends before that item: it must not be predicted from itself.

        Raises:
            DataError: A row gives neither, or its history is not a list.
        """
        users, given = columns_of(frame)
        for place, (user, history) in enumerate(zip(users, given, strict=True)):
            if user is None and history is None:
                raise DataError("request", int(frame.index[place]), "gives neither user nor history", fix="give one")
        learnt = self._known()
        codes = learnt.user_codes(users)
        histories = self._codes([history or () for history in given])
        stored = np.array([history is None for history in given]) & (codes > 0)
        histories[stored] = learnt.histories[codes[stored] - 1]
        if "label" in frame.columns and stored.any():
            labels = learnt.item_codes(frame["label"])[stored]
            histories[stored] = until(histories[stored], labels)
        return {"user": codes, "history": histories}

    def digest(self, frame: pd.DataFrame) -> Array:
        """Hash user, history and time: a row's title and its place in the file are not inputs."""
        users, histories = columns_of(frame)
        times = frame["time"].tolist() if "time" in frame.columns else [None] * len(frame)
        rows = ("\0".join([str(user), str(time), *map(str, history or ())]) for user, history, time in
                zip(users, histories, times, strict=True))  # fmt: skip
        return digests_of(hashlib.blake2b(row.encode(), digest_size=DIGEST_BYTES).digest() for row in rows)

    def meta(self) -> Json:
        """`inputs`, `num_users`, `num_items`, and for each item in order `item_counts` and `item_titles`."""
        learnt = self._known()
        history: Json = {"dtype": learnt.dtype.name, "shape": [learnt.history_length], "padding": 0}
        return {
            "inputs": {"user": {"dtype": "int32", "shape": []}, "history": history},
            "num_users": len(learnt.users),
            "num_items": len(learnt.items),
            "item_counts": learnt.item_counts,
            "item_titles": learnt.titles,
        }

    def facts(self) -> Json:
        """Users, items, how full the matrix of both is, and how unequal the items are."""
        learnt = self._known()
        total = sum(learnt.item_counts)
        top = learnt.item_counts[: max(1, len(learnt.items) // 10)]
        return {
            "num_users": len(learnt.users),
            "num_items": len(learnt.items),
            "density": total / (max(1, len(learnt.users)) * len(learnt.items)),
            "share_of_most_popular_tenth": sum(top) / total,
            "history_length": learnt.history_length,
        }

    def statistics(self, frame: pd.DataFrame, inputs: dict[str, Array]) -> dict[str, Any]:
        """Rows of unknown users, without history, with a full one (older items go), and at the time of another one."""
        held = inputs["history"] != 0
        tied = {"tied_times": int(frame["tied"].sum())} if "tied" in frame.columns else {}
        return tied | {
            "unknown_users": int((inputs["user"] == 0).sum()),
            "empty_histories": int((~held[:, 0]).sum()),
            "full_histories": int(held[:, -1].sum()),
        }

    def schema(self) -> Json:
        """One request: `user`, or `history` (the most recent item last), or both; and `k`, how many items to give."""
        identifier: Json = {"type": ["string", "integer"]}
        return {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object",
            "properties": {
                "user": {
                    **identifier,
                    "description": "who the items are for; one that training has not seen may be given",
                },
                "history": {
                    "type": "array",
                    "items": identifier,
                    "description": "items that the user has had, the latest last; without it, those of training",
                },
                "k": {"type": "integer", "minimum": 1, "description": "how many items to recommend"},
            },
            "anyOf": [{"required": ["user"]}, {"required": ["history"]}],
        }

    def preview(self, inputs: dict[str, Array], index: int) -> Preview:
        """The user and the last items of the history, in words."""
        learnt = self._known()
        code, history = int(inputs["user"][index]), inputs["history"][index]
        had = history[history != 0]
        titles = [learnt.titles[item - 1] for item in had[-PREVIEWED:].tolist()]
        user = f"user {learnt.users[code - 1]}" if code else "a new user"
        more = f"{len(had) - len(titles)} others; " if len(had) > len(titles) else ""
        return Preview(text=f"{user} had {more}{'; '.join(titles)}" if titles else f"{user}, no history")

    def read_requests(self, paths: Sequence[Path], table: TableFormat | None = None) -> pd.DataFrame:
        """Read tables with the columns `user` or `history` or both, and `k`; a history in CSV is parted by spaces."""
        frame = read_table_requests(paths, [], optional=["user", "history", "k"], own=table)
        if "user" not in frame.columns and "history" not in frame.columns:
            raise DataError(paths[0], None, "has neither a column 'user' nor 'history'", fix="name one of them so")
        return frame

    def to_json(self) -> Json:
        """The argument, and under `fitted` what was learnt; each user's history as codes in one text."""
        learnt = self._known()
        histories = [" ".join(map(str, row[row != 0].tolist())) for row in learnt.histories]
        return {
            "_target_": target_name(type(self)),
            "history_length": self.history_length,
            "fitted": {
                "history_length": learnt.history_length,
                "items": learnt.items,
                "item_counts": learnt.item_counts,
                "titles": learnt.titles,
                "users": learnt.users,
                "histories": histories,
            },
        }

    @classmethod
    def from_json(cls, state: Json) -> InteractionsPreprocessor:
        """Rebuild a fitted preprocessor."""
        try:
            made = cls(state["history_length"])
            fitted = state["fitted"]
            learnt = LearntHistories(list(fitted["items"]), list(fitted["users"]), int(fitted["history_length"]))
            learnt.item_counts, learnt.titles = list(fitted["item_counts"]), list(fitted["titles"])
            learnt.histories = np.zeros((len(learnt.users), learnt.history_length), learnt.dtype)
            for row, text in enumerate(fitted["histories"]):
                codes = np.fromiter(map(int, text.split()), dtype=np.int64)
                learnt.histories[row, : len(codes)] = codes
        except (KeyError, TypeError, ValueError) as error:
            why = f"its inputs are not an InteractionsPreprocessor's: {error!r}"
            raise DataError("preprocessor.json", None, why, fix="run the preprocess stage again") from None
        made._learnt = learnt
        return made

    def _codes(self, histories: Sequence[Sequence[Any]]) -> Array:
        learnt = self._learnt
        return code_histories(histories, learnt.item_index, learnt.history_length, learnt.dtype)

    def _known(self) -> LearntHistories:
        if not self._learnt.items:
            raise DataError("preprocessor", None, "has seen no interactions yet", fix="fit it first")
        return self._learnt

"""`flywheel feedback pull`: turns the corrections to a task's predictions into train rows.

Everything is decided anew at each pull, from the whole store: what is pulled is a function of the store, the settings
and the held-out data, and of nothing that was pulled before.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from flywheel.feedback.frozen import ITEM, Frozen, Own, network_digests, pairs_of, read_frozen, read_own, row_digests
from flywheel.feedback.pulled import Pulled, write_pulled
from flywheel.feedback.rows import frame_of, is_unicode, missing_column
from flywheel.feedback.rules import Refused, RowCandidate, choose
from flywheel.feedback.store import Answered, FeedbackStore
from flywheel.feedback.words import microseconds
from flywheel.preprocessor.task import TaskPreprocessor, load_preprocessor
from flywheel.project.config import TaskConfig
from flywheel.project.errors import DataError
from flywheel.project.instantiate import build
from flywheel.project.kind import READER
from flywheel.project.types import Json
from flywheel.project.whole import read_json

CHUNK = 500
NUM_REASONS = 20
"""Reasons for refusing an input that are named one by one; all are counted."""


@dataclass(frozen=True)
class PullOutcome:
    """Result of a pull.

    Attributes:
        num_words: Number of corrections in the store.
        classes: Rows by label; of numbers under ''.
        refused: Number of refused corrections by rule, without zeros.
        reasons: Why inputs could not be used, and how often.
        changed: Whether any row differs from what was there.
    """

    num_words: int
    classes: dict[str, int]
    refused: dict[str, int]
    reasons: dict[str, int]
    changed: bool

    @property
    def num_rows(self) -> int:
        """Rows that train may have."""
        return sum(self.classes.values())


def pull(task: TaskConfig, store: FeedbackStore, raw: Path, processed: Path, folder: Path) -> PullOutcome:
    """Make `data/feedback/<task>/` from the store.

    Args:
        task: The task's settings.
        store: The feedback store.
        raw: The folder `data/raw/<task>/`.
        processed: `data/processed/<task>/`, of which the held-out rows are.
        folder: `data/feedback/<task>/`.

    Raises:
        DataError: Raw or processed data are missing or damaged.
        FeedbackError: The store cannot be read.
    """
    preprocessor = load_preprocessor(processed / "preprocessor.json")
    splits = build(task.data.reader.read, READER, where=f"tasks.{task.name}.data.reader.read").read(raw)
    keeps_equal = task.preprocess.overlap == "keep"
    frozen = read_frozen(processed, splits, preprocessor.inputs, keeps_equal=keeps_equal)
    own = read_own(processed)
    sieve = _Sieve(preprocessor, read_json(processed / "meta.json"), frozen, own, task.feedback.max_deviations)
    with store.pulling():
        return _pull(task, store, sieve, folder)


def _pull(task: TaskConfig, store: FeedbackStore, sieve: _Sieve, folder: Path) -> PullOutcome:
    words = [word for chunk in _chunks(store.answered(task.name)) for word in sieve.usable(chunk)]
    chosen, refused = choose(words, task.feedback, sieve.own.groups)
    refused = Refused({name: number for name, number in sorted((sieve.refused + refused).items()) if number})
    classes = dict(sorted(Counter(word.group for word in chosen).items()))
    reasons = dict(sorted(sieve.reasons.most_common(NUM_REASONS)))
    told = {
        "feedback": sieve.num_words,
        "classes": classes,
        "clients": len({word.client for word in chosen}),
        "refused": dict(refused),
        "reasons": reasons,
        "rules": asdict(task.feedback),
        "held_out": sieve.frozen.sha256,
    }
    changed = write_pulled(folder, Pulled(_frame(chosen, store, sieve.schema), sieve.schema, told))
    return PullOutcome(sieve.num_words, classes, dict(refused), reasons, changed)


class _Sieve:
    """Filters corrections, and keeps those that can become rows."""

    def __init__(
        self, preprocessor: TaskPreprocessor, meta: Json, frozen: Frozen, own: Own, max_deviations: float
    ) -> None:
        self.inputs, self.target = preprocessor.inputs, preprocessor.target
        self.meta, self.frozen, self.own, self.max_deviations = meta, frozen, own, max_deviations
        self.kind = str(meta["target"]["kind"])
        self.schema = self.inputs.schema()
        self.refused, self.reasons = Refused(), Counter[str]()
        self.num_words = 0

    def usable(self, said: Sequence[Answered]) -> Iterator[RowCandidate]:
        """Give the words of which rows can be made."""
        self.num_words += len(said)
        with_both = [(one, label) for one in said if (label := self._label(one)) is not None]
        if not with_both:
            return
        labels, encoded = self._encoded(pd.Series([label for _, label in with_both], dtype=object))
        places = [place for place, good in enumerate(encoded) if good is not None]
        rows = [with_both[place][0] for place in places]
        frame = frame_of([one.prediction.input or {} for one in rows], self.schema)
        frame = frame.assign(label=[labels[place] for place in places]) if places else frame
        for row, digest, identity in self._examined(frame, [encoded[place] for place in places]):
            word, label = rows[row], labels[places[row]]
            yield RowCandidate(
                feedback_id=word.feedback.feedback_id,
                prediction_id=word.prediction.prediction_id,
                time_us=microseconds(word.feedback.time),
                client=word.feedback.client,
                label=label,
                # Two clients with the same coarse inputs need not be the same person's: each is a row.
                digest=word.prediction.prediction_id.encode() if digest in self.frozen.shared else identity,
                group="" if self.kind == "number" else str(label),
                many=self.kind == ITEM,
            )

    def _label(self, one: Answered) -> Any:
        """The right label that was given, or confirmed; None, and counted, where the row can be none."""
        label = one.feedback.label
        if label is None and one.feedback.correct:
            label = one.prediction.answer.get("label")
        if label is None:
            self.refused["no_label"] += 1
        elif one.prediction.input is None:
            self.refused["hash_only"] += 1
        elif (name := missing_column(one.prediction.input, self.schema)) is not None:
            self._invalid(f"has no column '{name}'")
        elif not is_unicode(one.prediction.input):
            self._invalid("holds an unpaired surrogate")
        else:
            return label
        return None

    def _encoded(self, labels: pd.Series) -> tuple[list[Any], list[Any]]:
        """Labels as the target cleans them, and encodes them; None, and counted, where train does not know them."""
        cleaned, reasons = self.target.clean(labels)
        found: list[Any] = []
        known: dict[Any, Any] = {}
        for label, why in zip(cleaned.tolist(), reasons.tolist(), strict=True):
            if label not in known:
                known[label] = None if isinstance(why, str) else self._code(label)
            code = known[label]
            if code is None:
                self.refused["unknown_label"] += 1
            elif self.kind == "number" and not self._plausible(float(code)):
                self.refused["implausible_label"] += 1
                code = None
            found.append(code)
        return cleaned.tolist(), found

    def _code(self, label: Any) -> Any:
        try:
            return self.target.encode(pd.Series([label], dtype=object if isinstance(label, str) else None))[0]
        except DataError:
            return None

    def _plausible(self, code: float) -> bool:
        targets = self.own.targets
        distance = abs(code - float(targets.mean()))
        return not self.max_deviations or distance <= self.max_deviations * float(targets.std())

    def _examined(self, frame: pd.DataFrame, codes: list[Any]) -> Iterator[tuple[int, bytes, bytes]]:
        """Clean and transform rows as training and service do; those that cannot be are counted with their reason.

        Gives the number of each usable row that is not held out, a hash of what the network gets of it, and one of what
        makes two rows the same.
        """
        if not len(frame):
            return
        try:
            kept, lost = self.inputs.clean(frame)
            arrays = self.inputs.transform(kept.drop(columns="label")) if len(kept) else {}
        except (DataError, ValueError, OverflowError) as error:  # users send anything
            if len(frame) == 1:
                self._invalid(error.why if isinstance(error, DataError) else str(error))
                return
            half = len(frame) // 2  # one bad row must not take the others with it
            yield from self._examined(frame.iloc[:half], codes)
            yield from self._examined(frame.iloc[half:], codes)
            return
        for drop in lost:
            self._invalid(drop.why)
        if not len(kept):
            return
        rows = kept.index.to_list()
        gists = self.inputs.near(kept)
        target = np.array([codes[row] for row in rows])
        pairs, held_out = pairs_of(self.meta, arrays, target), row_digests(self.meta, arrays, target)
        digests = network_digests(arrays)
        # Rows of a table that clipping or rare categories make alike to the network are still two observations.
        own = [row.tobytes() for row in self.inputs.digest(kept)] if self.frozen.keeps_equal else digests
        for place, (row, digest) in enumerate(zip(rows, digests, strict=True)):
            split = self.frozen.split_of(held_out[place], None if gists is None else int(gists[place]), pairs[place])
            if split is None:
                yield row, digest, own[place]
            else:
                self.refused[f"in_{split}"] += 1

    def _invalid(self, why: str) -> None:
        self.refused["invalid_input"] += 1
        self.reasons[why] += 1


def _chunks(said: Iterator[Answered]) -> Iterator[list[Answered]]:
    while chunk := list(itertools.islice(said, CHUNK)):
        yield chunk


def _frame(chosen: list[RowCandidate], store: FeedbackStore, schema: Json) -> pd.DataFrame:
    """Read the chosen inputs again, in the order of the rows."""
    inputs: dict[str, Json] = {}
    ids = [word.prediction_id for word in chosen]
    for start in range(0, len(ids), CHUNK):
        inputs |= store.inputs_of(ids[start : start + CHUNK])
    chosen = [word for word in chosen if word.prediction_id in inputs]  # one may have been forgotten meanwhile
    frame = frame_of([inputs[word.prediction_id] for word in chosen], schema)
    if any(word.many for word in chosen):  # an interaction: what comes after what matters
        frame["time"] = [word.time_us / 1e6 for word in chosen]
    frame["label"] = np.fromiter((word.label for word in chosen), dtype=object, count=len(chosen))
    frame["prediction"] = [word.prediction_id for word in chosen]
    return frame

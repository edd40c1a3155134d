"""One version in service: its predictor, opened and warmed, what describes it, and the queue before it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from flywheel.project.types import Json
from flywheel.registry.evidence import META, METRICS
from flywheel.registry.package import evidence, open_package
from flywheel.registry.predictor import Predictor
from flywheel.serving.request.limits import RequestLimits
from flywheel.serving.request.rows import RowReader
from flywheel.serving.request.tensors import datatype_of
from flywheel.serving.row import Load, fields_of, load_of, num_answers
from flywheel.serving.settings import ServingSettings
from flywheel.serving.version.batcher import Batcher, Rows, Slice

Column = np.ndarray[Any, Any]
EXAMPLE = "input_example.json"
FEW = 8
"""Files of a request whose headers are read in the event loop."""


@dataclass(frozen=True)
class ChampionVersion:
    """A version to serve, as the registry names it.

    Attributes:
        task: The registered model.
        number: The number of the version.
        model_sha256: The sha256 of its weights.
        folder: Folder with its files.
        sums: The sha256 of its files, as the registry has them; the files are compared whenever they are opened.
        worse_than: The baseline that its own report calls better; None: none.
    """

    task: str
    number: int
    model_sha256: str
    folder: str
    sums: dict[str, str] = field(hash=False)
    worse_than: str | None = None

    def __str__(self) -> str:
        return f"{self.task}/{self.number}"


@dataclass(frozen=True)
class Answers:
    """Answers to one request's rows: the columns of `Predictor.answers`, [N] each."""

    columns: dict[str, Column]

    def records(self) -> list[Json]:
        """One mapping a row, of plain numbers and texts."""
        lists = [column.tolist() for column in self.columns.values()]
        names = tuple(self.columns)
        return [dict(zip(names, row, strict=True)) for row in zip(*lists, strict=True)]


class Served:
    """A version that answers.

    Args:
        champion: The champion's identity.
        predictor: The version's predictor.
        described: Evidence of the version: `meta` and `metrics`.
        settings: The settings of the server.
        executor: Threads that its batches run in.
        observe: Called after each batch with its rows, requests and seconds of waiting.

    Attributes:
        schema: JSON Schema of one row.
        outputs: Columns of its answers with their datatypes, once it is warm.
        example: A row that the version brings; None where it brings none.
        answer_example: Answer to the example.
    """

    def __init__(
        self,
        champion: ChampionVersion,
        predictor: Predictor,
        described: Json,
        settings: ServingSettings,
        executor: Executor,
        observe: Callable[[int, int, float], None] = lambda rows, requests, seconds: None,
    ) -> None:
        self.champion, self.predictor, self.described = champion, predictor, described
        self.schema = predictor.preprocessor.inputs.schema()
        self.outputs: dict[str, str] = {}
        self.example: Json | None = None
        self.answer_example: Json = {}
        self.reader = RowReader(self.schema, settings.max_request_rows, predictor.preprocessor.aliases)
        self.limits = RequestLimits(settings)
        self.batcher: Batcher[Answers] = Batcher(
            self._work, _joined, executor, max_rows=settings.max_batch_rows, max_wait=settings.max_wait_ms / 1000,
            max_queue=settings.max_queue_rows, observe=observe,
        )  # fmt: skip

    async def answer(self, rows: Rows) -> Answers:
        """Answer checked rows.

        Raises:
            FlywheelError: A row cannot be used, the rows hold more than is allowed, or too many wait.
        """
        # To read a file's header is little work, but a thousand of them are enough to hold up the event loop.
        many = len(rows) > FEW and bool(self.reader.media)
        costs = await asyncio.to_thread(self._costs, rows) if many else self._costs(rows)
        return await self.batcher.answer(rows, costs)

    def warm(self) -> None:
        """Answer the version's own example once, so that the first request does not wait for what loads late."""
        file = Path(self.champion.folder) / EXAMPLE
        if not file.is_file():
            return
        held = json.loads(file.read_text())
        rows = [dict(zip(held["columns"], row, strict=True)) for row in held["data"]]
        answers = self._predict(rows)
        self.outputs = {name: datatype_of(column) for name, column in answers.items()}
        self.example, self.answer_example = rows[0], Answers(answers).records()[0]

    def describe(self) -> Json:
        """What a task's page says of the version in service."""
        meta, champion = self.described["meta"], self.champion
        return {
            "task": champion.task,
            "version": champion.number,
            "model_sha256": champion.model_sha256,
            "kind": meta.get("target", {}).get("kind"),
            "classes": meta.get("classes"),
            "schema": self.schema,
            "fields": {name: one._asdict() for name, one in fields_of(self.predictor.preprocessor.inputs).items()},
            "metrics": self.described["metrics"],
            "worse_than": champion.worse_than,
        }

    def load_of(self, row: Json) -> Load:
        """How much a row holds, and how long its answer will be."""
        number = num_answers(self.predictor.preprocessor.target, row)
        load = load_of(self.predictor.preprocessor.inputs, row)
        return load._replace(answers=len(self.outputs) if number is None else number)

    def _costs(self, rows: Rows) -> list[float] | None:
        return self.limits.costs([self.load_of(row) for row in rows])

    def _work(self, slices: list[Slice]) -> list[Answers | Exception]:
        """Answer several requests together; where a row cannot be used, each by itself, so that only its own fails."""
        first = slices[0].first if len(slices) == 1 else 0
        try:
            answers = self._predict([row for rows, _ in slices for row in rows], first)
        except Exception as error:  # noqa: BLE001 - a bug, too, must fail its own request and no other
            return [error] if len(slices) == 1 else [found for one in slices for found in self._work([one])]
        found: list[Answers | Exception] = []
        start = 0
        for rows, _ in slices:
            end = start + len(rows)
            found.append(Answers({name: column[start:end] for name, column in answers.items()}))
            start = end
        return found

    def _predict(self, rows: Rows, first: int = 0) -> dict[str, Column]:
        return self.predictor.answers(self.reader.frame(rows, first))


def _joined(parts: list[Answers]) -> Answers:
    """The answers to a request's slices as those to the whole."""
    names = parts[0].columns
    return Answers({name: np.concatenate([part.columns[name] for part in parts]) for name in names})


def open_served(
    champion: ChampionVersion,
    settings: ServingSettings,
    executor: Executor,
    observe: Callable[[int, int, float], None] = lambda rows, requests, seconds: None,
) -> Served:
    """Open a version after checking that its bytes are those that were registered, and warm it.

    Raises:
        RegistryError: A file is missing, or has other bytes.
        ModelError: The model cannot be run.
    """
    folder = Path(champion.folder)
    predictor = open_package(folder, champion.sums, threads=settings.threads)
    described = {"meta": evidence(folder, META), "metrics": evidence(folder, METRICS)}
    served = Served(champion, predictor, described, settings, executor, observe)
    served.warm()
    return served

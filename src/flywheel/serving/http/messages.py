"""What the server's own routes take and give, typed; rows of tasks are described by their preprocessors instead."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

MAX_TEXT = 10_000


class Problem(BaseModel):
    """What is wrong, where, and how to fix it; `message` is all three in one line, as the command line prints it.

    `mend` is the same as `fix`, for clients of older servers.
    """

    what: str
    where: str | None
    fix: str | None
    mend: str | None
    message: str


class ErrorBody(BaseModel):
    """The body of every answer that is no success."""

    error: Problem


class ProtocolError(BaseModel):
    """The same under `/v2`, as the Open Inference Protocol has it: the line alone."""

    error: str


class TaskLine(BaseModel):
    """One task of the list."""

    task: str
    version: int
    model_sha256: str


class TaskList(BaseModel):
    """The tasks that are served."""

    tasks: list[TaskLine]


class FieldLine(BaseModel):
    """How the page asks for an input: by `/web/field/{form}.js`, which is told `about` it, or plainly by its schema.

    `about` holds the size of a picture (`exact`: others are refused, not resized). `answers` says whether what is
    answered is one of the input's choices.
    """

    form: str
    about: dict[str, Any]
    answers: bool


class TaskPage(TaskLine):
    """A task's version in service: `metrics` is what the gate judged it by, `schema` that of one row.

    `fields` says how each input is asked for; `worse_than` is the baseline that its own report calls better.
    """

    model_config = ConfigDict(serialize_by_alias=True)

    kind: str | None
    classes: list[str] | None
    row_schema: dict[str, Any] = Field(alias="schema")
    fields: dict[str, FieldLine]
    metrics: dict[str, Any]
    worse_than: str | None


class PartGroup(BaseModel):
    """What each part of one input is worth: its weight, and the answer's value without it."""

    input: str
    kind: str
    form: str
    about: dict[str, Any]
    weights: list[float]
    without: list[float]


class ExplainReply(TaskLine):
    """Why a row is answered as it is: `weights` are log-odds of a probability, else units of the value."""

    label: Any
    value: float
    measure: Literal["probability", "score", "number"]
    groups: list[PartGroup]


class Choice(BaseModel):
    """A value, and what it is called."""

    value: str
    title: str | None = None


class Choices(BaseModel):
    """Values that a person may choose from, by input, and the row that the version brings as an example."""

    inputs: dict[str, list[Choice]]
    example: dict[str, Any] | None


class Volume(BaseModel):
    """Predictions and words of feedback in one step of time."""

    start: str
    predictions: int
    feedback: int


class Live(TaskLine):
    """How a task does: `check` is what `flywheel monitor` finds, `why_not` why there is none."""

    days: int
    check: dict[str, Any] | None
    why_not: str
    volumes: list[Volume]
    champions: list[dict[str, Any]]
    loop: list[dict[str, Any]]


class FeedbackBody(BaseModel):
    """Feedback on a prediction: the right answer, or only whether it was right."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"prediction_id": "PREDICTION_ID", "label": "positive"}]}
    )

    prediction_id: str = Field(min_length=1, max_length=200)
    label: str | float | None = Field(None, description="the right answer, as the task's labels are written")
    correct: bool | None = Field(None, strict=True, description="whether the prediction was right")
    feedback_id: str | None = Field(
        None, min_length=1, max_length=200, description="yours; without it, the same feedback twice counts once"
    )
    source: Literal["person", "outcome"] = "person"

    @model_validator(mode="after")
    def _says_something(self) -> FeedbackBody:
        if self.label is None and self.correct is None:
            raise ValueError("gives neither label nor correct")
        if isinstance(self.label, str) and len(self.label) > MAX_TEXT:
            raise ValueError(f"label is longer than {MAX_TEXT} characters")
        if isinstance(self.label, float) and not -1e308 < self.label < 1e308:
            raise ValueError("label is no finite number")
        return self


class FeedbackReply(BaseModel):
    """Feedback that is on the disk: `stored` now, or `known` from before."""

    feedback_id: str
    outcome: Literal["stored", "known"]


class State(BaseModel):
    """Whether the server is well."""

    status: str
    tasks: list[str]


class ServerLive(BaseModel):
    """Of the Open Inference Protocol."""

    live: bool


class Ready(BaseModel):
    """Of the Open Inference Protocol."""

    ready: bool


class ModelReady(BaseModel):
    """Of the Open Inference Protocol."""

    name: str
    ready: bool


class ServerMetadata(BaseModel):
    """Of the Open Inference Protocol."""

    name: str
    version: str
    extensions: list[str]


class TensorMetadata(BaseModel):
    """Of the Open Inference Protocol; -1 is any size."""

    name: str
    datatype: str
    shape: list[int]


class ModelMetadata(BaseModel):
    """Of the Open Inference Protocol."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]
    parameters: dict[str, str]

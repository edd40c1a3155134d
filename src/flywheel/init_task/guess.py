"""What was guessed about a user's data, and why: all that is written into `conf/`, and all that is printed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Node = dict[str, Any]

CLASS, NUMBER, ITEM = "class", "number", "item"
"""What a target can be: one of several names, a quantity, or the thing that somebody takes next."""

IGNORED = "ignored"
"""What a note is about that names a column left out."""

DRAWN_SHARES = "64% / 16% / 20%"
"""Train, validation and test, as the defaults of `conf/preprocess/` draw them."""


@dataclass(frozen=True)
class Recipe:
    """Options for one kind of data and one kind of target.

    Attributes:
        preprocess: Option of the group `preprocess`.
        model: The network that is taken first: small, and good on little data.
        evaluate: Option of that group; it names the baselines.
        augment: Option of that group.
        optimizer: What differs from the settings of AdamW.
        why: Why this model is chosen; empty: it is not told.
    """

    preprocess: str
    model: str
    evaluate: str
    augment: str = "none"
    optimizer: Mapping[str, float] = field(default_factory=dict)
    why: str = ""


@dataclass(frozen=True)
class Note:
    """One line of the table that the user sees: what was asked, what was guessed, and why."""

    what: str
    guess: str
    why: str


Ask = Callable[[str, Sequence[str]], str]
"""Asks a person a question, given the likely answers, and gives the answer."""


@dataclass(frozen=True)
class Wanted:
    """The user's options for a table; None: guessed.

    Attributes:
        target: The column to be predicted.
        modality: `tabular`, `text` or `interactions`.
        kind: `CLASS` or `NUMBER`.
        user: The column of users, which makes a table one of interactions.
        item: Column of the items.
        time: The column of times: of interactions, or of rows the latest of which are the test set.
        group: The column whose rows never straddle parts.
        weight: The column that says how much each row counts in training.
        why: Why the target is taken that is named here.
        ask: Asks where a guess is not near certain; None: nobody is there to answer, and the table is refused.
    """

    target: str | None = None
    modality: str | None = None
    kind: str | None = None
    user: str | None = None
    item: str | None = None
    time: str | None = None
    group: str | None = None
    weight: str | None = None
    why: str = "you named it"
    ask: Ask | None = None


@dataclass
class Guess:
    """A task in the making.

    Attributes:
        modality: What kind of data it is, the name of its room in `flywheel.modality`.
        target: Kind of the target: `CLASS`, `NUMBER` or `ITEM`.
        reader: `read` of the data set's reader.
        inputs: Arguments of the preprocessor that differ from its defaults.
        target_settings: Arguments of the target that differ from its defaults.
        preprocess: Other settings of `preprocess` that differ from the defaults.
        net: Arguments of the network that differ from its defaults.
        recipe: The options to take in place of the kind's own; None: those.
        num_rows: Rows that can be used; an estimate where the data were sampled.
        num_classes: The number of classes of a class target.
        num_test: Rows of the test set; 0: a share of `num_rows`.
        spread: Standard deviation of a numeric target.
        notes: What was guessed, in the order in which it is shown.
        warnings: What the user should know or do, a sentence each.
    """

    modality: str
    target: str
    reader: Node
    inputs: Node = field(default_factory=dict)
    target_settings: Node = field(default_factory=dict)
    preprocess: Node = field(default_factory=dict)
    net: Node = field(default_factory=dict)
    recipe: Recipe | None = None
    num_rows: int = 0
    num_classes: int = 0
    num_test: int = 0
    spread: float = 1.0
    notes: list[Note] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def note(self, what: str, guess: object, why: str) -> None:
        """Add a line to the table."""
        self.notes.append(Note(what, str(guess), why))

    def warn(self, sentence: str) -> None:
        """Add a warning."""
        self.warnings.append(sentence)


def listed(names: list[str], limit: int = 6) -> str:
    """The first of some names, and how many more there are."""
    shown = ", ".join(names[:limit])
    return f"{shown} and {len(names) - limit} more" if len(names) > limit else shown


def counted(number: int, noun: str) -> str:
    """`1 row`, `2 rows`, `1,000 rows`."""
    plural = noun[:-1] + "ies" if noun.endswith("y") else noun + ("es" if noun.endswith("s") else "s")
    return f"{number:,} {noun if number == 1 else plural}"

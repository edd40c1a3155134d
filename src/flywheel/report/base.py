"""What a report is made of, and what a kind of target must supply to have one.

A new kind of target (numbers, rankings) is one file with one subclass of `Report`, named in `conf/metric/`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from flywheel.project.types import Preview
from flywheel.report.bootstrap import Array, Bootstrap, Metric

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from flywheel.report.baseline import BaselineData

Tone = Literal["good", "even", "bad"]


@dataclass(frozen=True)
class MetricKind:
    """How a metric is read.

    Attributes:
        title: Name for people.
        meaning: One sentence that explains it.
        higher_is_better: Whether higher values are better.
        percent: Whether it is a share, shown as a percentage.
    """

    title: str
    meaning: str
    higher_is_better: bool = True
    percent: bool = True

    def show(self, value: float | None) -> str:
        """Write a value for people."""
        if value is None:
            return "not defined"
        return f"{100 * value:.1f}%" if self.percent else f"{value:.3f}"

    def show_interval(self, metric: Metric) -> str:
        """Write the interval for people; empty where none was wanted."""
        if metric.low is None or metric.high is None:
            return "no interval" if metric.value is not None and metric.draws.size else ""
        low, high = self.show(metric.low), self.show(metric.high)
        return f"{low.removesuffix('%')} to {high}"

    def show_difference(self, value: float) -> str:
        """Write a difference for people, with its sign; of shares, in percentage points."""
        text = f"{100 * value:+.1f} points" if self.percent else f"{value:+.3f}"
        return text.replace("-", "−")

    def show_difference_interval(self, metric: Metric) -> str:
        """Write a difference's interval for people, each end with its sign; empty where there is none."""
        if metric.low is None or metric.high is None:
            return ""
        return f"{self.show_difference(metric.low).removesuffix(' points')} to {self.show_difference(metric.high)}"


@dataclass(frozen=True)
class Measured:
    """What `Report.measure` found: the main metrics by name, and those of parts (classes), a list for each name."""

    metrics: dict[str, Metric]
    parts: dict[str, list[Metric]] = field(default_factory=dict)


@dataclass(frozen=True)
class Contender:
    """The model, or a baseline beside it.

    Attributes:
        name: A key of `metrics.json`.
        title: Name for people.
        measured: Metrics on the test set.
        note: Facts that a reader needs to judge it, in full sentences: rows it was fitted on, warnings.
        difference: For a baseline: metric name -> paired difference model - baseline.
    """

    name: str
    title: str
    measured: Measured
    note: str = ""
    difference: dict[str, Metric] = field(default_factory=dict)


@dataclass(frozen=True)
class Evidence:
    """All that a report is made from.

    Attributes:
        target: The encoded target of each test row.
        scores: The model's answer to each test row, as its link gives it.
        rows: Number of each test row in the raw test split.
        model: The model's metrics.
        baselines: Baselines that it is compared with, the weakest last.
        previews: Called with indices into the test set, shows those examples.
        num_mistakes: Number of mistakes to show.
        num_groups: Number of groups of test rows, which are resampled whole; None: rows are independent.
    """

    target: Array
    scores: Array
    rows: Array
    model: Contender
    baselines: list[Contender]
    previews: Callable[[list[int]], list[Preview]]
    num_mistakes: int = 36
    num_groups: int | None = None

    @property
    def num_rows(self) -> int:
        """Rows of the test set."""
        return len(self.target)


@dataclass(frozen=True)
class Picture:
    """A figure with its file name (without ending), a title, and the words for who cannot see it.

    `panels` are its parts, each a figure of its own: a page puts as many side by side as it has room for.
    """

    name: str
    title: str
    figure: Figure
    alt: str
    panels: tuple[Picture, ...] = ()


@dataclass(frozen=True)
class Card:
    """One example with what the model said about it."""

    preview: Preview
    title: str
    detail: str
    note: str = ""


@dataclass(frozen=True)
class Table:
    """Rows of texts; the first column names the row."""

    header: list[str]
    rows: list[list[str]]


@dataclass(frozen=True)
class Section:
    """One collapsible part of the page. All texts are plain: the page escapes them.

    Attributes:
        title: The question that it answers.
        lead: One or two sentences to read before the pictures.
        points: Sentences for a list.
        pictures: Drawn side by side where there is room.
        cards: Examples, as cards.
        table: Exact values, folded away.
        is_open: Whether it is unfolded at first.
    """

    title: str
    lead: str = ""
    points: tuple[str, ...] = ()
    pictures: tuple[Picture, ...] = ()
    cards: tuple[Card, ...] = ()
    table: Table | None = None
    is_open: bool = True


@dataclass(frozen=True)
class Verdict:
    """The first thing a reader sees.

    Attributes:
        sentence: How good the model is, and whether it is worth more than the baseline.
        badge: The second of these in a few words.
        tone: Whether that is good news.
        note: Facts needed to judge the comparison fairly.
    """

    sentence: str
    badge: str
    tone: Tone
    note: str = ""


class Report(ABC):
    """What evaluate does for one kind of target; built from the `metric.report` node.

    Attributes:
        kinds: The metrics that `measure` gives, in the order in which they are shown.
        headline: The one a reader is told first.
        tiles: Tiles on the page's first screen.
    """

    kinds: ClassVar[dict[str, MetricKind]]
    headline: ClassVar[str]
    tiles: ClassVar[tuple[str, ...]]

    @abstractmethod
    def measure(self, target: Array, scores: Array, bootstrap: Bootstrap) -> Measured:
        """Measure scores against the target, with intervals; never NaN: what is not defined has a reason."""

    @abstractmethod
    def trivial(self, data: BaselineData) -> tuple[str, str, Array, str]:
        """The baseline that learns nothing but frequencies or means: name, title, scores of the test rows, note."""

    @abstractmethod
    def verdict(self, evidence: Evidence) -> Verdict:
        """Say in one sentence how good the model is, and whether it beats the best baseline."""

    @abstractmethod
    def predictions(self, evidence: Evidence) -> dict[str, Array]:
        """The columns of `predictions.parquet`, `row` first."""

    @abstractmethod
    def tables(self, evidence: Evidence) -> dict[str, pd.DataFrame]:
        """The CSV files, by name (without ending)."""

    @abstractmethod
    def sections(self, evidence: Evidence) -> list[Section]:
        """The page's parts that belong to this kind of target."""

    @abstractmethod
    def method(self, evidence: Evidence) -> tuple[str, ...]:
        """How it was measured, in sentences, limits included."""


def best_baseline(evidence: Evidence, headline: str, kind: MetricKind) -> Contender | None:
    """The baseline that a model has to beat: the best by the headline metric; None where there is none."""
    known = [item for item in evidence.baselines if item.measured.metrics[headline].value is not None]
    if not known:
        return None
    sign = 1.0 if kind.higher_is_better else -1.0
    return max(known, key=lambda item: sign * (item.measured.metrics[headline].value or 0.0))


def tone_of(difference: Metric, kind: MetricKind) -> Tone:
    """Whether a paired difference is clear: its interval lies on one side of zero."""
    value, low, high = difference.value, difference.low, difference.high
    if value is None or low is None or high is None or low <= 0 <= high:
        return "even"
    return "good" if (value > 0) == kind.higher_is_better else "bad"


def verdict_against(
    start: str, evidence: Evidence, headline: str, kind: MetricKind, apart: Callable[[float], str], rows: str = "rows"
) -> Verdict:
    """Finish a verdict: whether the model beats the best baseline by the headline metric, and by how much.

    Args:
        start: Sentence on the model's quality, without a full stop.
        evidence: Measurements of the model and its baselines.
        headline: The metric that they are compared by.
        kind: Kind of the metric.
        apart: Writes a difference, without its sign.
        rows: Name of the test rows, in the plural.
    """
    rival = best_baseline(evidence, headline, kind)
    if rival is None:
        return Verdict(f"{start}.", "No baseline to compare with", "even")
    difference = rival.difference[headline]
    tone, words = tone_of(difference, kind), apart(abs(difference.value or 0.0))
    between = kind.show_difference_interval(difference)
    if tone == "even":
        said = f"{words} apart" + (f", {between}" if between else "")
        end = f"{rival.title} is as good, as far as these {rows} can tell ({said})"
        return Verdict(f"{start}; {end}.", f"Not clearly better than {rival.title}", tone, rival.note)
    side = "more" if (tone == "good") == kind.higher_is_better else "less"
    badge = "Beats" if tone == "good" else "Worse than"
    return Verdict(
        f"{start}, {words} {side} than {rival.title} ({between}).", f"{badge} {rival.title}", tone, rival.note
    )


def flat(metrics: dict[str, Metric]) -> dict[str, Any]:
    """Name -> value, name_low and name_high, as `evaluation.json` and MLflow hold them."""
    found: dict[str, Any] = {}
    for name, metric in metrics.items():
        found[name], found[f"{name}_low"], found[f"{name}_high"] = metric.value, metric.low, metric.high
    return found

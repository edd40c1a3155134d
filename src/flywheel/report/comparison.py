"""The model beside its baselines: bars with intervals, and a table of every metric."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flywheel.report import style
from flywheel.report.base import Contender, Evidence, MetricKind, Picture, Section, Table, tone_of
from flywheel.report.bootstrap import Metric

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

_WORDS = {"good": "clearly better", "even": "no clear difference", "bad": "clearly worse"}


def comparison_section(evidence: Evidence, kinds: dict[str, MetricKind], shown: tuple[str, ...]) -> Section:
    """Show whether the model is worth more than something simpler."""
    return Section(
        title="Is the network worth it?",
        lead="The same test rows, answered by the model and by simpler means. Whiskers are 95% intervals.",
        points=tuple(item.note for item in evidence.baselines if item.note),
        pictures=(comparison_picture(evidence, kinds, shown),),
        table=comparison_table(evidence, kinds),
    )


def comparison_picture(evidence: Evidence, kinds: dict[str, MetricKind], shown: tuple[str, ...]) -> Picture:
    """One small panel for each metric, a bar for each contender."""
    contenders = [evidence.model, *evidence.baselines]
    columns = min(3, len(shown))
    rows = -(-len(shown) // columns)
    figure, axes = style.new_figure(9.6, rows * (0.85 + 0.32 * len(contenders)), rows, columns)
    with style.styled():
        for number, (panel, name) in enumerate(zip(axes, shown, strict=False)):
            _panel(panel, name, kinds[name], contenders, with_names=number % columns == 0)
        for panel in axes[len(shown) :]:
            panel.set_visible(False)
    words = "; ".join(_in_words(name, kinds[name], contenders) for name in shown)
    panels = tuple(_alone(name, kinds[name], contenders) for name in shown)
    return Picture("baselines", "The model and its baselines", figure, words, panels)


def _alone(name: str, kind: MetricKind, contenders: list[Contender]) -> Picture:
    """One panel, as a figure of its own."""
    figure, (axes,) = style.new_figure(3.5, 0.85 + 0.32 * len(contenders))
    with style.styled():
        _panel(axes, name, kind, contenders, with_names=True)
    return Picture(f"baselines-{name}", kind.title, figure, _in_words(name, kind, contenders))


def comparison_table(evidence: Evidence, kinds: dict[str, MetricKind]) -> Table:
    """Every metric with its interval, and the paired differences, in words."""
    contenders = [evidence.model, *evidence.baselines]
    differences = [f"model − {item.title}" for item in evidence.baselines]
    header = ["Metric (↑ higher is better)", *(item.title for item in contenders), *differences]
    rows = []
    for name, kind in kinds.items():
        cells = [f"{kind.title} {'↑' if kind.higher_is_better else '↓'}"]
        for item in contenders:
            metric = item.measured.metrics[name]
            between = kind.show_interval(metric)
            cells.append(kind.show(metric.value) + (f" ({between})" if between else ""))
        for item in evidence.baselines:
            found = item.difference[name]
            between = kind.show_difference_interval(found)
            words = f" ({between}), {_WORDS[tone_of(found, kind)]}" if between else ""  # without one nobody knows
            cells.append("" if found.value is None else f"{kind.show_difference(found.value)}{words}")
        rows.append(cells)
    return Table(header, rows)


def comparison_frame(evidence: Evidence, names: list[str]) -> pd.DataFrame:
    """`baselines.csv`: each contender's metrics with intervals, and the paired differences model - baseline."""
    import pandas as pd

    rows = []
    for item in (evidence.model, *evidence.baselines):
        for name in names:
            metric, apart = item.measured.metrics[name], item.difference.get(name, Metric(None))
            row = {"of": item.name, "metric": name, "value": metric.value, "low": metric.low, "high": metric.high}
            rows.append(row | {"difference": apart.value, "difference_low": apart.low, "difference_high": apart.high})
    return pd.DataFrame(rows)


def _in_words(name: str, kind: MetricKind, contenders: list[Contender]) -> str:
    values = (f"{item.title} {kind.show(item.measured.metrics[name].value)}" for item in contenders)
    return f"{kind.title}: {', '.join(values)}"


def _panel(panel: Axes, name: str, kind: MetricKind, contenders: list[Contender], *, with_names: bool) -> None:
    arrow = "higher is better" if kind.higher_is_better else "lower is better"
    panel.set_title(kind.title)
    panel.set_xlabel(arrow, fontsize=8)
    values = [item.measured.metrics[name] for item in contenders]
    for place, metric in enumerate(values):
        y = -place
        if metric.value is None:
            style.label_end(panel, 0, y, "not defined", style.MUTED)
            continue
        colour = style.ACCENT if place == 0 else style.FAINT
        panel.barh(y, metric.value, height=0.62, color=colour)
        end = metric.value
        if metric.low is not None and metric.high is not None:
            panel.plot([metric.low, metric.high], [y, y], color=style.INK, linewidth=1.3)
            end = max(end, metric.high)
        style.label_end(panel, end, y, kind.show(metric.value), style.INK if place == 0 else style.MUTED)
    largest = max([metric.high or metric.value or 0.0 for metric in values] + [1e-9])
    panel.set_xlim(0, (1.0 if kind.percent and largest > 0.3 else largest) * 1.22)
    panel.set_xticks([])
    panel.set_yticks([-place for place in range(len(contenders))])
    panel.set_yticklabels([item.title for item in contenders] if with_names else [""] * len(contenders))
    panel.tick_params(axis="y", labelcolor=style.INK)
    style.clean_frame(panel)

"""A figure that others have published for the task, beside ours."""

from __future__ import annotations

from flywheel.project.config import PublishedConfig
from flywheel.project.errors import ConfigError, nearest
from flywheel.report import style
from flywheel.report.base import Evidence, MetricKind, Picture, Report, Section, Table
from flywheel.report.bootstrap import Metric


def published_section(published: PublishedConfig, report: Report, evidence: Evidence) -> Section:
    """Show both figures, and say whether ours reaches the published one.

    Args:
        published: The published figure, whose metric is one of `report.kinds`.
        report: The report of the task's kind of target.
        evidence: Our figures.

    Raises:
        ConfigError: The report has no such metric.
    """
    if published.metric not in report.kinds:
        fix = nearest(published.metric, report.kinds)
        raise ConfigError(f"no metric '{published.metric}'", where="evaluate.published.metric", fix=fix)
    kind, ours = report.kinds[published.metric], evidence.model.measured.metrics[published.metric]
    interval = kind.show_interval(ours)
    source, value = published.source.rstrip("."), _exact(published.value, kind)
    return Section(
        title="The published figure and ours",
        lead=f"{kind.title}: {value} was published ({source}). {reached(published, kind, ours)}",
        points=(
            "The published figure comes without an interval. Ours says how far it would move with other test rows, not"
            " with another training; for that, train with several seeds.",
        ),
        pictures=(_picture(published, kind, ours),),
        table=Table(
            ["", kind.title, "95% interval", "from"],
            [
                ["published", value, "", source],
                ["ours", _exact(ours.value, kind), interval, f"this report, {evidence.num_rows:,} test rows"],
            ],
        ),
    )


def reached(published: PublishedConfig, kind: MetricKind, ours: Metric) -> str:
    """Say in one sentence where our figure lies."""
    if ours.value is None:
        return f"Ours is not defined: {ours.reason}."
    gap = ours.value - published.value
    way = "above" if gap > 0 else "below"
    words = f"Ours is {_exact(ours.value, kind)}"
    words += f", {_exact(abs(gap), kind).replace('%', ' points')} {way} it" if gap else ", the same"
    if ours.low is None or ours.high is None:
        return f"{words}."
    if ours.low <= published.value <= ours.high:
        return f"{words}; our interval ({kind.show_interval(ours)}) holds the published figure."
    better = (gap > 0) == kind.higher_is_better
    return f"{words}: clearly {'better' if better else 'worse'} ({kind.show_interval(ours)})."


def _exact(value: float | None, kind: MetricKind) -> str:
    """One digit more than elsewhere: published figures differ in it."""
    if value is None:
        return "not defined"
    return f"{100 * value:.2f}%" if kind.percent else f"{value:.4g}"


def _picture(published: PublishedConfig, kind: MetricKind, ours: Metric) -> Picture:
    figure, (axes,) = style.new_figure(6.4, 1.7)
    with style.styled():
        axes.plot([published.value], [1], "D", color=style.MUTED, markersize=7)
        style.label_end(axes, published.value, 1, f" {_exact(published.value, kind)}", style.MUTED)
        axes.axvline(published.value, color=style.FAINT, linewidth=1, linestyle=(0, (2, 3)))
        if ours.value is not None:
            if ours.low is not None and ours.high is not None:
                axes.plot([ours.low, ours.high], [0, 0], color=style.INK, linewidth=1.3)
            axes.plot([ours.value], [0], "o", color=style.ACCENT, markersize=8)
            axes.annotate(
                _exact(ours.value, kind), (ours.value, 0), xytext=(0, 8), textcoords="offset points", ha="center"
            )
        axes.set_yticks([1, 0], ["published", "ours"])
        axes.tick_params(axis="y", labelcolor=style.INK)
        axes.set_ylim(-0.6, 1.6)
        axes.margins(x=0.25)
        axes.set_xlabel(f"{kind.title}, {'higher' if kind.higher_is_better else 'lower'} is better", fontsize=8)
        style.clean_frame(axes, grid="x")
    words = f"{kind.title}: published {_exact(published.value, kind)}, ours {_exact(ours.value, kind)}"
    return Picture("published", "The published figure and ours", figure, words)

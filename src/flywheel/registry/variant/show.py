"""The variants of a model for people: lines for a terminal, and a picture of score against bytes and latency."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from flywheel.project.types import Json
from flywheel.registry.variant.choice import FP32, entry_of, passing

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLUMNS = (
    "variant",
    "score",
    "95% interval",
    "difference",
    "bytes",
    "smaller",
    "p50/p95 ms, 1 row",
    "64 rows",
    "passed",
)


def lines(parity: Json, latency: Json) -> list[str]:
    """A table: a line for fp32 and each variant, then the reasons of those refused.

    Args:
        parity: The content of `parity.json`, variants included.
        latency: The content of `latency.json`.
    """
    names = [FP32, *parity["variants"]]
    rows = [COLUMNS, *(_row(parity, latency, name) for name in names)]
    widths = [max(len(row[place]) for row in rows) for place in range(len(COLUMNS))]
    table = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    refused = [f"{name}: {entry['why']}" for name, entry in parity["variants"].items() if not entry["passed"]]
    return [*table, *refused]


def _row(parity: Json, latency: Json, name: str) -> tuple[str, ...]:
    entry = entry_of(parity, name)
    score, bounds = entry.get(parity["metric"]), entry.get("interval") or [None, None]
    size = entry.get("num_bytes")
    return (
        name,
        _number(score),
        "" if bounds[0] is None else f"{bounds[0]:.4f} to {bounds[1]:.4f}",
        "" if entry.get("difference") is None else f"{entry['difference']:+.4f}",
        "" if size is None else f"{size:,}",
        "" if size is None else f"{entry_of(parity, FP32)['num_bytes'] / size:.2f}x",
        *(_times(latency.get(name, {}).get(f"batch_{rows}")) for rows in (1, 64)),
        "" if name == FP32 else "yes" if entry["passed"] else "no",
    )


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _times(found: Json | None) -> str:
    return "" if found is None else f"{found['p50_ms']:.3f}/{found['p95_ms']:.3f}"


def draw(parity: Json, latency: Json, task: str, file: Path) -> None:
    """Write the picture: a point for fp32 and each measured variant, with its interval; a cross where it was refused.

    Args:
        parity: The content of `parity.json`, variants included.
        latency: The content of `latency.json`.
        task: Name of the task, for the title.
        file: PNG to write.
    """
    from flywheel.report.style import new_figure, save_png, styled

    metric = parity["metric"]
    names = [name for name in (FP32, *parity["variants"]) if entry_of(parity, name).get(metric) is not None]
    figure, axes = new_figure(9.6, 1.5 + 0.34 * len(names), 1, 3, sharey=True)
    kilobytes = [entry_of(parity, name)["num_bytes"] / 1e3 for name in names]
    times = [latency.get(name, {}).get("batch_1", {}).get("p50_ms", float("nan")) for name in names]
    with styled():
        _scores(axes[0], parity, names, f"{task}: {metric}")
        _bars(axes[1], parity, names, kilobytes, "kB of ONNX", "{:,.0f}")
        _bars(axes[2], parity, names, times, "ms a request, median", "{:.3f}")
    save_png(figure, file)


def _scores(axes: Axes, parity: Json, names: list[str], title: str) -> None:
    from flywheel.report.style import ACCENT, MUTED, WRONG, clean_frame

    metric, good = parity["metric"], passing(parity)
    for place, name in enumerate(names):
        entry = entry_of(parity, name)
        value, (low, high) = entry[metric], entry["interval"]
        colour = ACCENT if name in good else WRONG
        if low is not None:
            axes.plot([low, high], [place, place], color=colour, linewidth=1.6)
        axes.plot([value], [place], marker="o" if name in good else "X", color=colour, markersize=6, linestyle="none")
        axes.annotate(f"{value:.4f}", (value, place), xytext=(0, 6), textcoords="offset points", ha="center",
                      color=colour, fontsize=8)  # fmt: skip
    axes.axvline(parity[FP32][metric], color=MUTED, linewidth=0.8, linestyle="--")
    axes.set_yticks(range(len(names)), [name if name in good else f"{name} (refused)" for name in names])
    axes.set_ylim(len(names) - 0.5, -0.7)
    axes.set_title(title)
    clean_frame(axes, grid="x")


def _bars(axes: Axes, parity: Json, names: list[str], values: list[float], title: str, form: str) -> None:
    from flywheel.report.style import ACCENT, FAINT, clean_frame, label_end

    good = passing(parity)
    colours: list[Any] = [ACCENT if name in good else FAINT for name in names]
    axes.barh(range(len(names)), values, color=colours, height=0.55)
    for place, value in enumerate(values):
        if value == value:  # NaN: not timed
            label_end(axes, value, place, form.format(value))
    axes.set_xlim(0, 1.25 * max([value for value in values if value == value], default=1.0))
    axes.set_title(title)
    axes.set_xticks([])
    clean_frame(axes)

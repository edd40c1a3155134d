"""How training went: each epoch's loss and metrics, from `history.csv`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from flywheel.project.errors import ModelError
from flywheel.report import style
from flywheel.report.base import MetricKind, Picture, Section

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

MAX_PANELS = 3


def read_history(file: Path) -> pd.DataFrame:
    """Read `history.csv`.

    Raises:
        ModelError: It is missing or damaged.
    """
    import pandas as pd

    try:
        history = pd.read_csv(file)
    except FileNotFoundError:
        raise ModelError("missing", where=file, fix="run `dvc repro` to train the model") from None
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise ModelError(f"damaged: {error}", where=file, fix="run `dvc checkout`, or train again") from None
    if "epoch" not in history:
        raise ModelError("has no column epoch", where=file, fix="train again")
    return history


def learning_section(
    history: pd.DataFrame, best_epoch: int, kinds: Mapping[str, MetricKind], title: str = "How did it learn?"
) -> Section:
    """Show the curves, and say when the best epoch was; epochs count from 1.

    Args:
        history: The file `history.csv`.
        best_epoch: The kept epoch.
        kinds: Kinds of metrics, with their names.
        title: The title of the section.
    """
    titles = {name: kind.title for name, kind in kinds.items()}
    last = int(history["epoch"].max())
    lead = f"The weights are those of epoch {best_epoch} of {last}."
    if best_epoch < last:
        lead += " Later epochs did no better on validation."
    return Section(title=title, lead=lead, pictures=(learning_picture(history, best_epoch, titles),), is_open=False)


def learning_picture(history: pd.DataFrame, best_epoch: int, titles: Mapping[str, str]) -> Picture:
    """A panel for the loss and for each metric: train and validation over epochs, the kept epoch marked."""
    names = _names(history)
    width = 4.6 if len(names) == 1 else 3.5 * len(names)
    figure, axes = style.new_figure(width, 3.1, 1, len(names))
    with style.styled():
        for panel, name in zip(axes, names, strict=True):
            _panel(panel, history, name, best_epoch, titles)
        axes[0].legend(loc="best")
    end = f"over epochs; the kept epoch is {best_epoch}."
    panels = []
    for name in names:
        alone, (panel,) = style.new_figure(3.5, 3.1)
        with style.styled():
            _panel(panel, history, name, best_epoch, titles)
            panel.legend(loc="best")
        panels.append(Picture(f"learning-{name}", _words(name, titles), alone, f"{_words(name, titles)} {end}"))
    shown = ", ".join(_words(name, titles) for name in names)
    return Picture("learning", "Learning curves", figure, f"{shown} {end}", tuple(panels))


def _names(history: pd.DataFrame) -> list[str]:
    names = [str(column).removeprefix("validation/") for column in history if str(column).startswith("validation/")]
    if not names:
        names = [str(column).removeprefix("train/") for column in history if str(column).startswith("train/")]
    names.sort(key=lambda name: (name != "loss", name))
    return names[:MAX_PANELS] or ["loss"]


def _panel(panel: Axes, history: pd.DataFrame, name: str, best_epoch: int, titles: Mapping[str, str]) -> None:
    from matplotlib.ticker import MaxNLocator

    epochs = history["epoch"].to_numpy()
    marker = "o" if len(epochs) < 12 else None
    for part, colour, line in (("train", style.FAINT, "--"), ("validation", style.ACCENT, "-")):
        if f"{part}/{name}" in history:
            y = history[f"{part}/{name}"].to_numpy()
            panel.plot(epochs, y, color=colour, linestyle=line, marker=marker, markersize=3, label=part)
    panel.axvline(best_epoch, color=style.MUTED, linewidth=1, linestyle=(0, (2, 3)))
    at = history.index[history["epoch"] == best_epoch]
    if len(at) and f"validation/{name}" in history:
        best = float(history[f"validation/{name}"][at[0]])
        panel.plot([best_epoch], [best], "o", color=style.WRONG, markersize=6)
        panel.annotate(
            f"{best:.3g}", (best_epoch, best), xytext=(-6, 7), textcoords="offset points", ha="right", fontsize=8.5
        )
    panel.set_title(_words(name, titles))
    panel.set_xlabel("epoch")
    panel.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True))
    panel.margins(x=0.06, y=0.14)
    style.clean_frame(panel, grid="y")


def _words(name: str, titles: Mapping[str, str]) -> str:
    """A metric's title in the report; of one that the report does not have, the words of its key."""
    if name in titles:
        return titles[name]
    words = name.replace("_", " ")
    return words[:1].upper() + words[1:]

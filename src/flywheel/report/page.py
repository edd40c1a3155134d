"""`report.html`: one file that holds everything and asks for nothing from outside."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flywheel.report import style
from flywheel.report.base import Evidence, Report, Section, Tone, Verdict, best_baseline, tone_of
from flywheel.report.gallery import MAX_TEXT, image_uri, is_small

TEMPLATE = Path(__file__).with_name("template.html")


@dataclass(frozen=True)
class Heading:
    """What the page says about its subject.

    Attributes:
        task: Name of the task.
        title: The title of the data set.
        facts: Name -> text, for the foot of the page.
        kind: Kind of page, in a word.
        about: Subject of the page, such as `evaluation on the test set`.
    """

    task: str
    title: str
    facts: dict[str, str]
    kind: str = "evaluation"
    about: str = "evaluation on the test set"


@dataclass(frozen=True)
class Against:
    """How far a figure is from what it is compared with.

    Attributes:
        tone: Whether the difference is good or bad.
        text: The difference, written for people, and from what.
        interval: The confidence interval of the difference; empty where it has none.
    """

    tone: Tone
    text: str
    interval: str = ""


@dataclass(frozen=True)
class Tile:
    """A figure of the first screen.

    Attributes:
        title: Name of the figure.
        value: The figure, written for people.
        interval: Interval, a line below it.
        meaning: Shown when a reader points at it.
        against: Comparison, beside it; None: none.
        direction: Note where lower is better.
    """

    title: str
    value: str
    interval: str = ""
    meaning: str = ""
    against: Against | None = None
    direction: str = ""


def render_page(
    heading: Heading, report: Report, evidence: Evidence, sections: list[Section], method: list[str]
) -> str:
    """Make the page of an evaluation; every text is escaped."""
    return render(heading, report.verdict(evidence), _tiles(report, evidence), sections, method)


def render(heading: Heading, verdict: Verdict, tiles: list[Tile], sections: list[Section], method: list[str]) -> str:
    """Make a page of any kind; every text is escaped."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    page = template.render(
        heading=heading,
        verdict=verdict,
        mark={"good": "✓", "even": "≈", "bad": "!"}[verdict.tone],
        tiles=tiles,
        sections=[_section(number, section) for number, section in enumerate(sections, start=1)],
        method=method,
    )
    return page.rstrip() + "\n"


def _tiles(report: Report, evidence: Evidence) -> list[Tile]:
    """The first screen's figures, each with its interval and its distance to the best baseline."""
    rival = best_baseline(evidence, report.headline, report.kinds[report.headline])
    found = []
    for name in report.tiles:
        kind, metric = report.kinds[name], evidence.model.measured.metrics[name]
        difference = rival.difference[name] if rival is not None else None
        against = None
        if difference is not None and difference.value is not None:
            between = kind.show_difference_interval(difference)
            against = Against(
                tone=tone_of(difference, kind),
                text=f"{kind.show_difference(difference.value)} vs baseline",
                interval=f"({between})" if between else "",
            )
        found.append(
            Tile(
                title=kind.title,
                value=kind.show(metric.value),
                interval=kind.show_interval(metric),
                meaning=metric.reason or kind.meaning,
                against=against,
                direction="" if kind.higher_is_better else "lower is better",
            )
        )
    return found


def _section(number: int, section: Section) -> dict[str, Any]:
    # Cards stand for their own sheet, which is for places that show one picture only.
    whole = () if section.cards else section.pictures
    shown = [part for picture in whole for part in (picture.panels or (picture,))]
    return {
        "section": section,
        "number": number,
        "in_panels": any(picture.panels for picture in whole),
        "svgs": [style.to_svg(picture.figure, f"{picture.name}-{number}", picture.alt) for picture in shown],
        "cards": [
            {
                "card": card,
                "uri": None if card.preview.image is None else image_uri(card.preview.image),
                "is_small": card.preview.image is not None and is_small(card.preview.image),
                "text": (card.preview.text or "")[:MAX_TEXT],
            }
            for card in section.cards
        ],
    }

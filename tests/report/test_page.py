from __future__ import annotations

import re
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest

from flywheel.project.types import Preview
from flywheel.report.base import Section
from flywheel.report.classification import ClassificationReport
from flywheel.report.page import Heading, render_page

MakeEvidence = Callable[..., Any]
EVIL = "<script>alert(1)</script>"


class Tags(HTMLParser):
    """Collects what a browser would see as tags, and what their links name."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        self.links += [value or "" for key, value in attrs if key in ("src", "href", "xlink:href")]


@pytest.fixture(scope="module")
def render(make_evidence: MakeEvidence) -> Callable[..., str]:
    def make(names: list[str], only: str | None = None, **given: Any) -> str:
        report, evidence = ClassificationReport(names), make_evidence(num_classes=len(names), **given)
        heading = Heading("fashion", f"Fashion {names[0]}", {"model_sha256": "abc"})
        sections = [one for one in report.sections(evidence) if only in (None, one.title)]
        return render_page(heading, report, evidence, sections, [f"Measured {names[0]}."])

    return make


@pytest.fixture(scope="module")
def page(render: Callable[..., str]) -> str:
    """A whole page on classes and examples that would rather be markup."""
    names = [EVIL, '"><img src=x onerror=alert(1)>', "{{ 7 * 7 }}"]
    return render(names, previews=lambda index: [Preview(text=EVIL) for _ in index])


def tags(page: str) -> Tags:
    found = Tags()
    found.feed(page)
    return found


def test_page_asks_for_nothing_from_outside(page: str) -> None:
    assert all(link.startswith(("data:", "#")) for link in tags(page).links)
    assert not re.search(r"@import|url\((?!#)", page)
    assert "default-src 'none'" in page


def test_class_names_and_texts_are_escaped(page: str) -> None:
    assert "script" not in tags(page).names
    assert "img" not in tags(page).names
    assert "{{ 7 * 7 }}" in page
    assert page.count("&lt;script&gt;") > 10


def test_first_screen_says_how_good_the_model_is(page: str) -> None:
    heading = re.search(r"<h1>(.*?)</h1>", page)
    assert heading is not None
    assert "The model names the right class for" in heading[1]
    assert page.index("Beats logistic regression") < page.index("<h1>") < page.index('<details class="part"')
    assert "Fitted on 7 rows." in page[: page.index('<div class="tiles"')]


def test_each_section_is_there_and_some_are_folded(page: str) -> None:
    parts = re.findall(r'<details class="part" (open)?>\s*<summary><h2>(.*?)</h2>', page)
    assert ("open", "What does it confuse?") in parts
    assert ("", "How do thresholds trade off?") in parts


def test_examples_are_pictures_or_texts_or_both(render: Callable[..., str]) -> None:
    mistakes = "What are its worst mistakes?"
    pictures = render(["a", "b"], mistakes, skill=0.0, num_mistakes=4)
    assert tags(pictures).names.count("img") == 4
    assert 'class="small"' in pictures
    large, long = Preview(np.zeros((600, 300, 3), np.uint8), "words"), Preview(text="x" * 5000)
    both = render(["a", "b"], mistakes, skill=0.0, previews=lambda i: [large for _ in i], num_mistakes=3)
    assert tags(both).names.count("img") == 3
    assert 'class="small"' not in both
    assert both.count('<p class="text">words</p>') == 3
    texts = render(["a", "b"], mistakes, skill=0.0, previews=lambda i: [long for _ in i], num_mistakes=3)
    assert "x" * 400 in texts
    assert "x" * 401 not in texts


def test_a_section_without_pictures_has_no_empty_boxes(make_evidence: MakeEvidence) -> None:
    report, evidence = ClassificationReport(["a", "b", "c", "d"]), make_evidence()
    page = render_page(Heading("t", "T", {}), report, evidence, [Section("Only words", "Some.")], [])
    assert '<div class="pictures">' not in page
    assert '<div class="cards' not in page

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import matplotlib
import pytest

from flywheel.report import style


def bars(label: str = "a"):  # type: ignore[no-untyped-def]
    figure, (axes,) = style.new_figure(3, 2)
    with style.styled():
        axes.bar([label], [1], color=style.ACCENT)
    return figure


def test_equal_figures_give_equal_bytes(tmp_path: Path) -> None:
    for name in ("one.png", "two.png"):
        style.save_png(bars(), tmp_path / name)
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    assert b"Matplotlib" not in (tmp_path / "one.png").read_bytes()
    assert style.to_svg(bars(), "x", "bars") == style.to_svg(bars(), "x", "bars")


def test_svg_takes_the_colours_of_the_page() -> None:
    svg = style.to_svg(bars(), "x", "bars")
    assert "var(--accent)" in svg
    assert not any(colour in svg for colour in style.CSS_NAMES)


def test_svg_asks_for_nothing_and_is_well_formed() -> None:
    svg = style.to_svg(bars("<&> cat"), "x", 'two "bars" <b>')
    root = ElementTree.fromstring(svg.replace("xlink:href", "href"))
    assert root.attrib["aria-label"] == 'two "bars" <b>'
    assert "http" not in svg
    assert "<metadata" not in svg


@pytest.mark.parametrize("name", ["$5 and $6", r"$\frac{", "猫と犬", "🐈"])
def test_class_names_are_no_formulas_and_need_no_font(tmp_path: Path, name: str) -> None:
    style.save_png(bars(name), tmp_path / "x.png")
    assert name in style.to_svg(bars(name), "x", "bars")


def test_nothing_of_the_style_stays_behind() -> None:
    before = dict(matplotlib.rcParams)
    style.to_svg(bars(), "x", "bars")
    assert dict(matplotlib.rcParams) == before


def test_no_two_roles_share_a_colour() -> None:
    assert len(style.CSS_NAMES) == len(set(style.CSS_NAMES.values())) == 9

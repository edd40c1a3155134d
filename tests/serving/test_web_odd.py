"""The pages with what is odd: values that are missing, replies that come late, a phone, the dark."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from tests.serving.site import Site, answered

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("skew"), pytest.mark.timeout(600)]


def test_a_missing_value_is_left_out_and_a_number_goes_as_it_is_written(page: Any, site: Site) -> None:
    page.goto(f"{site.url}/#breast_cancer")
    page.wait_for_selector("#fields .field")
    first, second = page.locator("#fields input").nth(0), page.locator("#fields input").nth(1)
    first.fill("")
    second.fill("1,5")
    with page.expect_response("**/predict"):
        page.click("#predict")
    page.wait_for_selector("#problem:visible")
    assert "'1,5'" in page.inner_text("#problem")
    assert "422" in page.wrong.pop()
    second.fill("1.5")
    answered(page)
    held = list(site.kept.predictions.values())[-1].input
    assert held is not None
    names = list(held)
    assert (held[names[0]], held[names[1]]) == (None, "1.5")
    assert page.wrong == []


def test_fields_of_a_table_hold_what_its_example_says(page: Any, site: Site) -> None:
    page.goto(f"{site.url}/#digits")
    page.wait_for_selector("canvas.draw")
    shown = page.evaluate(FIELDS)
    assert shown == {
        "price": ["2,75", "2,75"], "flag": ["yes", "yes"], "sure": ["true", True], "none": ["", None],
        "kind": ["a  b", "a  b"], "k": ["3", 3], "options": ["", "a  b"],
    }  # fmt: skip
    assert page.wrong == []


FIELDS = """async () => {
  const { fieldOf } = await import('/web/fields.js');
  const plainly = (name, spec) => fieldOf(name, spec, { form: 'tabular', about: {}, answers: false }, []);
  const boolean = { type: ['boolean', 'null'] }, number = { type: ['number', 'null'] };
  const closed = { enum: ['a  b', null] };
  const given = { price: [number, '2,75'], flag: [boolean, 'yes'], sure: [boolean, true], none: [number, null],
    kind: [closed, 'a  b'], k: [{ type: 'integer', minimum: 1 }, 3] };
  const shown = {};
  for (const [name, [spec, value]] of Object.entries(given)) {
    const field = await plainly(name, spec);
    field.set(value);
    shown[name] = [field.labelled.value, field.value()];
  }
  shown.options = [...(await plainly('kind', closed)).labelled.options].map((one) => one.value);
  return shown;
}"""


def test_what_comes_late_is_of_no_other_task(page: Any, site: Site) -> None:
    page.add_init_script(LATE)
    page.goto(f"{site.url}/#tweets")
    page.wait_for_selector("#fields textarea")
    page.evaluate("late = '/tweets/predict'")
    with page.expect_response("**/predict"):
        page.click("#predict")
        page.select_option("#task", "breast_cancer")
        page.wait_for_selector("[data-input='mean radius']")
    page.wait_for_selector("#predict:enabled")
    assert page.is_hidden("#result"), "the answer is a text's, the form a table's"
    page.evaluate("late = '/tweets/choices'")
    with page.expect_response("**/tweets/choices"):
        page.select_option("#task", "tweets")
        page.select_option("#task", "digits")
        page.wait_for_selector("canvas.draw")
    page.wait_for_timeout(200)
    assert page.locator("canvas.draw").count() == 1
    assert page.wrong == []


LATE = """
window.late = '-';
const at_once = window.fetch;
window.fetch = async (...words) => {
  if (words[0].endsWith(window.late)) await new Promise((resolve) => setTimeout(resolve, 1500));
  return at_once(...words);
};
"""


def test_the_microphone_is_off_when_another_task_is_shown(page: Any, site: Site) -> None:
    page.context.grant_permissions(["microphone"], origin=site.url)
    page.add_init_script(HEARD)
    page.goto(f"{site.url}/#spoken_digits")
    page.click("#record")
    page.wait_for_selector("#record:has-text('Stop')")
    page.select_option("#task", "tweets")
    page.wait_for_selector("#fields textarea")
    assert page.evaluate("heard.getTracks().map((one) => one.readyState)") == ["ended"]
    assert page.wrong == []


HEARD = """
const listen = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
navigator.mediaDevices.getUserMedia = async (wanted) => { window.heard = await listen(wanted); return window.heard; };
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_are_readable_on_any_colour_and_a_phone_shows_all(page: Any, site: Site, scheme: str) -> None:
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": 375, "height": 800})
    page.goto(f"{site.url}/#digits")
    page.wait_for_selector("canvas.draw")
    assert page.evaluate(CONTRAST) >= 4.5
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    page.click("#example")
    page.wait_for_selector(".field:has-text('8 x 8')")
    answered(page)
    touched = "getComputedStyle(document.querySelector('figure canvas')).touchAction"
    assert page.evaluate(touched) != "none", "a finger on it scrolls the page"


CONTRAST = """async () => {
  const { explanationOf } = await import('/web/explain.js');
  const about = { text: 'good bad', spans: [[0, 4], [5, 8]] };
  const group = { input: 'text', kind: 'words', form: 'text', about, weights: [1, -1], without: [0.1, 0.9] };
  const { figures } = await explanationOf({ measure: 'probability', value: 0.5, groups: [group] }, []);
  document.getElementById('explanation').replaceChildren(...figures);
  const parts = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = (rgb) => rgb.map((one) => one / 255)
    .map((one) => (one <= 0.03928 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4))
    .reduce((sum, one, place) => sum + one * [0.2126, 0.7152, 0.0722][place], 0);
  const ground = parts(getComputedStyle(document.body).backgroundColor).slice(0, 3);
  const ratios = [...document.querySelectorAll('mark')].map((mark) => {
    const [r, g, b, alpha] = parts(getComputedStyle(mark).backgroundColor);
    const mixed = [r, g, b].map((one, place) => alpha * one + (1 - alpha) * ground[place]);
    const both = [light(parts(getComputedStyle(mark).color).slice(0, 3)), light(mixed)];
    return (Math.max(...both) + 0.05) / (Math.min(...both) + 0.05);
  });
  return Math.min(...ratios);
}"""


def test_figures_of_one_task_do_not_stand_below_the_name_of_another(page: Any, site: Site) -> None:
    event = {"time": "2026-11-26T00:00:00+00:00", "action": "promoted", "before": 1, "after": 2, "why": "better " * 30}
    told = {
        "task": "digits", "version": 2, "model_sha256": "a", "days": 7, "check": None, "why_not": "too early",
        "volumes": [
            {"start": f"2026-11-{day}T{hour:02}:00:00+00:00", "feedback": 0,
             "predictions": 1234 if (day, hour) == (21, 5) else 0}
            for day in range(20, 27) for hour in (5, 11, 17, 23)
        ],
        "champions": [{**event, "actor": "a-long-name@a-machine.example"}],
        "loop": [{**event, "state": "decided", "outcome": None}],
    }  # fmt: skip
    page.route("**/v1/tasks/digits/live", lambda route: route.fulfill(json=told))
    page.route("**/v1/tasks/tweets/live", lambda route: None)  # it looks for a long time
    page.set_viewport_size({"width": 375, "height": 800})
    page.goto(f"{site.url}/live#digits")
    page.wait_for_selector("[data-tile=Predictions]:has-text('1,234')")
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    marks = page.eval_on_selector_all("line.day", "lines => lines.map((line) => Number(line.getAttribute('x1')))")
    assert len(marks) == 7
    assert max(gaps := [b - a for a, b in itertools.pairwise(marks)]) == pytest.approx(min(gaps)), "each day as wide"
    narrowest = "cells => Math.min(...cells.map((cell) => cell.getBoundingClientRect().width))"
    assert page.eval_on_selector_all("td:not(:empty)", narrowest) > 250, "no column of single letters"
    page.select_option("#task", "tweets")
    page.wait_for_selector("#about:has-text('Loading')")
    assert page.locator(".tile, svg, table").count() == 0
    assert page.locator("h2:visible").count() == 0, "headings over nothing"
    assert page.wrong == []


def test_the_page_says_what_the_task_is_and_shares_in_few_digits(page: Any, site: Site) -> None:
    said = {
        "digits": "which of 10 classes a picture belongs to: 0, 1, 2",
        "spoken_digits": "classes a recording belongs to",
        "tweets": "classes a text belongs to", "movielens": "Recommends the items",
        "breast_cancer": "which of 2 classes a row of 3",
    }  # fmt: skip
    for task, words in said.items():
        page.goto(f"{site.url}/#{task}")
        page.wait_for_selector(f"#about:has-text('{words}')")
    shares = "async (given) => given.map((await import('/web/api.js')).percent)"
    assert page.evaluate(shares, [0, 1e-9, 0.0004, 0.0123, 0.5, 0.9999914, 1]) == [
        "0.0%",
        "<0.1%",
        "<0.1%",
        "1.2%",
        "50.0%",
        ">99.9%",
        "100.0%",
    ]
    assert page.wrong == []


def test_bars_of_a_phone_are_as_wide_as_it(page: Any, site: Site) -> None:
    page.set_viewport_size({"width": 390, "height": 800})
    page.goto(f"{site.url}/#breast_cancer")
    page.wait_for_selector("#fields .field")
    answered(page)
    narrowest = "bars => Math.min(...bars.map((bar) => bar.getBoundingClientRect().width))"
    assert page.eval_on_selector_all("#explanation .track", narrowest) > 200

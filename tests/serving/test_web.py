"""The pages in a real, headless Chromium: every kind of input, the answer, why, what the person says of it."""

from __future__ import annotations

import base64
import json
import socket
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from tests import browser
from tests.serving.conftest import Kept, png
from tests.serving.test_skew import as_json, build_champion

from flywheel.serving.app import make_gateway
from flywheel.serving.door import read_tokens
from flywheel.serving.metrics import Metrics
from flywheel.serving.recording import Recording
from flywheel.serving.settings import ServingSettings
from flywheel.serving.shelf import Shelf

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("skew"), pytest.mark.timeout(600)]

TASKS = ("tweets", "spoken_digits", "breast_cancer", "movielens")
TOKEN = "0123456789abcdef"
KINDS = {"tweets": "words", "spoken_digits": "spans", "breast_cancer": "columns", "movielens": "items"}


class Site:
    """A server of this process, and what it was told."""

    def __init__(self, champions: list[Any], *, tokens: str = "") -> None:
        settings, metrics = ServingSettings(record="full"), Metrics()
        self.kept, self._executor = Kept(), ThreadPoolExecutor(2)
        shelf = Shelf(settings, self._executor, metrics)
        for champion in champions:
            shelf.put(champion)
        self.shelf = shelf
        self._recording = Recording(self.kept, "full", 1000, metrics.unrecorded.inc)
        known = read_tokens(None, {"FLYWHEEL_TOKENS": tokens})
        gateway = make_gateway(shelf, settings, metrics, tokens=known, recording=self._recording)
        listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        self._server = uvicorn.Server(uvicorn.Config(gateway, log_config=None, lifespan="off", ws="none"))
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [listener]})
        self._thread.start()

    def close(self) -> None:
        self._server.should_exit = True
        self._thread.join(20)
        self._recording.close()
        self._executor.shutdown()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    path = browser.find()
    assert path, "no Chromium: run `make test`, or `python tests/browser.py`, which gets one"
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=browser.arguments())
        yield started
        started.close()


@pytest.fixture(scope="module")
def site(root: Path, champion: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A server of every kind of task; all but digits are untrained."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FLYWHEEL_MIRROR", str(root / "tests/fixtures"))
        folder = tmp_path_factory.mktemp("project")
        patch.setenv("DVC_ROOT", str(folder))
        patch.chdir(folder)
        (folder / "dvc.yaml").touch()
        champions = [champion]
        for task in TASKS:
            made, frame, _ = build_champion(task, root)
            folder_of = folder / made.folder
            row = {name: as_json(value) for name, value in frame.iloc[0].items()}
            champions.append(replace(made, folder=str(folder_of)))
            _write_example(folder_of, row)
        made_site = Site(champions)
        yield made_site
        made_site.close()


def _write_example(folder: Path, row: dict[str, Any]) -> None:
    from flywheel.registry.predictor import Predictor

    found = Predictor.load(folder / "artifacts/model.onnx", folder / "artifacts/preprocessor.json", threads=1)
    names = [name for name in found.preprocessor.inputs.schema()["properties"] if name in row]
    held = {"columns": names, "data": [[row[name] for name in names]]}
    (folder / "input_example.json").write_text(json.dumps(held))


@pytest.fixture
def page(chromium: Any) -> Iterator[Any]:
    """A page of which every error, and every request to another place, is a failure."""
    opened = chromium.new_page()
    opened.set_default_timeout(60_000)
    wrong: list[str] = []
    opened.on("pageerror", lambda error: wrong.append(str(error)))
    opened.on("console", lambda line: wrong.append(line.text) if line.type in ("error", "warning") else None)
    opened.on("request", lambda asked: None if _is_here(asked.url) else wrong.append(asked.url))
    opened.wrong = wrong
    yield opened
    opened.close()


def _is_here(url: str) -> bool:
    return url.startswith(("http://127.0.0.1:", "blob:", "data:"))


def answered(page: Any) -> str:
    """Ask, wait for the explanation, and give the answer."""
    with page.expect_response("**/explain"):
        page.click("#predict")
    page.wait_for_selector("#explanation figure")
    assert page.is_hidden("#problem"), page.inner_text("#problem")
    return str(page.inner_text("#answer"))


def test_a_digit_is_drawn_and_one_is_dropped(page: Any, site: Site, test_images: Any) -> None:
    page.goto(f"{site.url}/#digits")
    page.wait_for_selector("canvas.draw")
    page.click("#predict")
    page.wait_for_selector("#problem:visible")
    assert "has no 'image'" in page.inner_text("#problem")
    assert "422" in page.wrong.pop()  # Chromium writes that down as well
    box = page.locator("canvas.draw").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 30)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] - 30, steps=8)
    page.mouse.up()
    assert answered(page) in "0123456789"
    assert page.locator("#scores .fill").count() == 10
    grid = page.locator("figure[data-kind=grid] canvas")
    assert "red" in grid.evaluate(COLOUR)

    content = base64.b64encode(png(test_images[1])).decode()
    page.evaluate(DROP, content)
    page.wait_for_selector(".field:has-text('8 x 8')")
    shown = answered(page)
    last = list(site.kept.predictions.values())[-1]
    assert shown == last.answer["label"]
    assert last.input is not None
    assert base64.b64decode(last.input["image"]) == png(test_images[1]), "a picture of the right size goes as it is"
    page.click("#wrong")
    page.select_option("#truth select", "7")
    page.click("#send")
    page.wait_for_selector("#said:has-text('Kept')")
    (said,) = site.kept.feedback.values()
    assert (said.prediction_id, said.label, said.correct) == (last.prediction_id, "7", False)
    assert page.is_disabled("#right")
    assert page.wrong == []


COLOUR = """canvas => {
  const data = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
  for (let at = 0; at < data.length; at += 4) if (data[at] > data[at + 2] + 40) return 'red';
  return 'grey';
}"""
DROP = """content => {
  const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
  const carried = new DataTransfer();
  carried.items.add(new File([bytes], 'one.png', { type: 'image/png' }));
  document.querySelector('canvas.draw').dispatchEvent(new DragEvent('drop', { dataTransfer: carried, bubbles: true }));
}"""


@pytest.mark.parametrize("task", TASKS)
def test_every_kind_of_input_is_asked_for_answered_and_explained(page: Any, site: Site, task: str) -> None:
    page.goto(f"{site.url}/#{task}")
    page.wait_for_selector("#fields .field")
    page.wait_for_selector("#about:has-text('Version')")
    page.click("#example")
    page.wait_for_timeout(200)
    with page.expect_response("**/explain"):
        page.click("#predict")
    page.wait_for_selector("#why:not(:has-text('…'))")
    assert page.is_hidden("#problem"), page.inner_text("#problem")
    last = list(site.kept.predictions.values())[-1]
    assert last.task == task
    if page.locator("#explanation figure").count():
        assert page.get_attribute("#explanation figure", "data-kind") == KINDS[task]
    else:  # an untrained network may not mind what is hidden
        assert "changes nothing" in page.inner_text("#why")
    page.click("#right")
    page.wait_for_selector("#said:has-text('Kept')")
    assert list(site.kept.feedback.values())[-1].correct is True
    assert page.wrong == []


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
  const none = { choices: [], picture: undefined };
  const boolean = { type: ['boolean', 'null'] }, number = { type: ['number', 'null'] };
  const closed = { enum: ['a  b', null] };
  const given = { price: [number, '2,75'], flag: [boolean, 'yes'], sure: [boolean, true], none: [number, null],
    kind: [closed, 'a  b'], k: [{ type: 'integer', minimum: 1 }, 3] };
  const shown = {};
  for (const [name, [spec, value]] of Object.entries(given)) {
    const field = fieldOf(name, spec, none);
    field.set(value);
    shown[name] = [field.labelled.value, field.value()];
  }
  shown.options = [...fieldOf('kind', closed, none).labelled.options].map((one) => one.value);
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


def test_a_recording_is_made_and_answered(page: Any, site: Site) -> None:
    page.context.grant_permissions(["microphone"], origin=site.url)
    page.goto(f"{site.url}/#spoken_digits")
    page.click("#record")
    page.wait_for_selector("#record:has-text('Stop')")
    page.wait_for_timeout(2500)  # Chromium's made-up microphone beeps once a second
    page.click("#record")
    page.wait_for_selector("audio:visible")
    answered(page)
    held = list(site.kept.predictions.values())[-1].input
    assert held is not None
    assert base64.b64decode(held["audio"]).startswith(b"RIFF")
    assert page.wrong == []


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


def test_a_user_is_picked_and_items_are_chosen_by_their_titles(page: Any, site: Site) -> None:
    page.goto(f"{site.url}/#movielens")
    page.wait_for_selector("[data-input=history] datalist option", state="attached")
    user = page.locator("[data-input=user] option").first.get_attribute("value")
    title = page.locator("[data-input=history] option").nth(2).get_attribute("value")
    page.fill("[data-input=user] input", user)
    for chip in range(page.locator(".chips button").count(), 0, -1):
        page.locator(".chips button").nth(chip - 1).click()
    page.fill("[data-input=history] input", title)
    page.press("[data-input=history] input", "Enter")
    page.click("#predict")
    page.wait_for_selector("#result:visible")
    held = list(site.kept.predictions.values())[-1].input
    assert held is not None
    inputs: Any = site.shelf.get("movielens").predictor.preprocessor.inputs
    assert held == {"user": user, "history": [inputs.items[inputs.titles.index(title)]]}
    assert page.locator("#scores .fill").count() > 1
    page.click("#wrong")
    page.fill("#truth input", "no such film")
    page.click("#send")
    page.wait_for_selector("#said:has-text('no such item')")
    page.fill("#truth input", title)
    page.click("#send")
    page.wait_for_selector("#said:has-text('Kept')")
    assert list(site.kept.feedback.values())[-1].label == held["history"][0], "the item, not its title"
    assert page.wrong == []


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
  const { drawExplanation } = await import('/web/explain.js');
  const about = { text: 'good bad', spans: [[0, 4], [5, 8]] };
  const group = { input: 'text', kind: 'words', about, weights: [1, -1], without: [0.1, 0.9] };
  drawExplanation({ measure: 'probability', value: 0.5, groups: [group] }, []);
  const parts = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = (rgb) => rgb.map((one) => one / 255).map((one) => (one <= 0.03928 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4))
    .reduce((sum, one, place) => sum + one * [0.2126, 0.7152, 0.0722][place], 0);
  const ground = parts(getComputedStyle(document.body).backgroundColor).slice(0, 3);
  const ratios = [...document.querySelectorAll('mark')].map((mark) => {
    const [r, g, b, alpha] = parts(getComputedStyle(mark).backgroundColor);
    const mixed = [r, g, b].map((one, place) => alpha * one + (1 - alpha) * ground[place]);
    const both = [light(parts(getComputedStyle(mark).color).slice(0, 3)), light(mixed)].sort();
    return (both[1] + 0.05) / (both[0] + 0.05);
  });
  return Math.min(...ratios);
}"""


def test_a_token_is_asked_for_once(page: Any, champion: Any) -> None:
    site = Site([champion], tokens=f"web {TOKEN}")
    try:
        page.goto(f"{site.url}/#digits")
        page.wait_for_selector("dialog[open]")
        page.fill("#token-value", "a wrong one, not known")
        page.click("dialog button")
        page.wait_for_selector("#problem:visible")
        assert "token" in page.inner_text("#problem")
        page.reload()
        page.fill("#token-value", f"“{TOKEN}”")
        page.click("dialog button")
        page.wait_for_selector("#problem:has-text('no token')")
        page.reload()
        page.wait_for_selector("dialog[open]")
        page.fill("#token-value", TOKEN)
        page.click("dialog button")
        page.wait_for_selector("canvas.draw")
        page.goto(f"{site.url}/#%")
        page.reload()
        page.wait_for_selector("canvas.draw")
        page.goto(f"{site.url}/live#digits")
        page.wait_for_selector("#problem:visible")  # nobody looks in this server
        assert page.locator("dialog[open]").count() == 0
    finally:
        site.close()


def test_the_live_page_of_a_real_server(page: Any, digits_store: Path, tmp_path: Path, test_images: Any) -> None:
    """`flywheel serve` as users start it: 130 predictions, some judged; the page tells so, and of the champion."""
    import httpx
    from tests.serving.test_serve import Running, home_of

    home = home_of(digits_store, tmp_path)
    (home / "params.yaml").write_text("tasks: {}\n")
    running = Running(home, [sys.executable, "-m", "flywheel.cli", "serve", "--port", "0", "--record", "full"])
    try:
        with httpx.Client(base_url=running.url, timeout=60) as client:
            images = test_images[:130].tolist()
            made = client.post("/v1/tasks/digits/predict", json={"instances": images}).json()["predictions"]
            for number, one in enumerate(made[:60]):
                told = {"prediction_id": one["prediction_id"], "correct": number % 3 > 0}
                assert client.post("/v1/feedback", json=told).status_code == 200
        page.goto(f"{running.url}/live#digits")
        page.wait_for_selector("[data-tile=Quality]")
        assert "130" in page.inner_text("[data-tile=Predictions]")
        assert "60 words" in page.inner_text("[data-tile=Predictions]")
        assert "0.667" in page.inner_text("[data-tile=Quality]")
        assert page.locator("#volumes rect.bar").count() >= 28
        assert page.locator("#quality circle").count() >= 2
        assert page.locator("[data-drift=inputs] .fill").count() > 3
        assert page.wrong == []
    finally:
        assert running.stop() == 0

"""The pages in a real, headless Chromium: every kind of input, the answer, why, what the person says of it."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.serving.conftest import Running, png
from tests.serving.site import TASKS, Site, answered

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("skew"), pytest.mark.timeout(600)]

TOKEN = "0123456789abcdef"
KINDS = {"tweets": "words", "spoken_digits": "spans", "breast_cancer": "columns", "movielens": "items"}


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
    assert page.input_value("#truth select") == "", "nobody has said yet what is right"
    assert page.is_disabled("#send")
    page.select_option("#truth select", "7")
    page.click("#send")
    page.wait_for_selector("#said:has-text('Stored')")
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
    page.wait_for_selector("#said:has-text('Stored')")
    assert list(site.kept.feedback.values())[-1].correct is True
    assert page.wrong == []


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
    inputs: Any = site.models.get("movielens").predictor.preprocessor.inputs
    assert "latest last" in page.inner_text("[data-input=history]")
    assert "how many items" in page.inner_text("[data-input=k]")
    assert held == {"user": user, "history": [inputs.items[inputs.titles.index(title)]]}
    assert page.locator("#scores .fill").count() > 1
    page.click("#wrong")
    assert page.is_disabled("#send")
    page.fill("#truth input", "no such film")
    page.click("#send")
    page.wait_for_selector("#said:has-text('no such item')")
    page.fill("#truth input", title)
    page.click("#send")
    page.wait_for_selector("#said:has-text('Stored')")
    assert list(site.kept.feedback.values())[-1].label == held["history"][0], "the item, not its title"
    assert page.wrong == []


def test_a_token_is_asked_for_once(page: Any, champion: Any) -> None:
    site = Site([champion], tokens=f"web {TOKEN}")
    try:
        page.goto(f"{site.url}/#digits")
        page.wait_for_selector("dialog[open]")
        for wrong, said in (("a-wrong-one-not-known", "not known"), (f"“{TOKEN}”", "no such characters")):
            page.fill("#token-value", wrong)
            page.click("dialog button")
            page.wait_for_selector(f"dialog:has-text('{said}')")
        page.fill("#token-value", TOKEN)
        page.click("dialog button")
        page.wait_for_selector("canvas.draw")
        page.click("#to-docs")
        page.wait_for_selector(".route[open] pre:has-text('/v1/tasks/digits/predict')")
        assert "Authorization: Bearer TOKEN" in page.inner_text(".route[open] pre")
        assert TOKEN not in page.content()
        page.goto(f"{site.url}/#%")
        page.reload()
        page.wait_for_selector("canvas.draw")
        page.goto(f"{site.url}/live#digits")
        page.wait_for_selector("#problem:visible")  # nobody looks in this server
        assert page.locator("dialog[open]").count() == 0
    finally:
        site.close()


def test_each_route_is_shown_with_samples_and_can_be_sent(page: Any, site: Site) -> None:
    page.goto(f"{site.url}/docs#tweets")
    page.wait_for_selector(".route[open] form")
    route = page.locator(".route[open]")
    assert f"curl -s {site.url}/v1/tasks/tweets/predict" in route.locator("pre").first.inner_text()
    route.locator("button:has-text('Python')").click()
    assert "requests.post(" in route.locator("pre").first.inner_text()
    route.locator("textarea").fill('{"text": "what a lovely day"}')
    route.locator("button[type=submit]").click()
    page.wait_for_selector(".route[open] [role=status]:has-text('200 OK')")
    assert list(site.kept.predictions.values())[-1].input == {"text": "what a lovely day"}
    page.locator("summary:has-text('/v2/models/{task}/versions/{version}/ready')").click()
    page.click("button:has-text('Send to /v2/models/tweets/versions/1/ready')")
    page.wait_for_selector("[role=status]:has-text('\"ready\":true')")

    page.select_option("#task", "spoken_digits")
    page.wait_for_selector(".route[open] input[type=file]")
    held = site.models.get("spoken_digits").example
    assert held is not None
    sound = {"name": "one.wav", "mimeType": "audio/wav", "buffer": base64.b64decode(held["audio"])}
    page.set_input_files(".route[open] input[type=file]", sound)
    page.click(".route[open] button[type=submit]")
    page.wait_for_selector(".route[open] [role=status]:has-text('200 OK')")
    assert "tweets" not in page.inner_text("#routes")
    assert page.wrong == []


@pytest.mark.end_to_end
def test_the_live_page_of_a_real_server(page: Any, home: Path, serve: Callable[..., Running], test_images: Any) -> None:
    """`flywheel serve` as users start it: 130 predictions, some judged; the page tells so, and of the champion."""
    (home / "params.yaml").write_text("tasks: {}\n")
    running = serve("--record", "full")
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
    for width in (1280, 390):
        page.set_viewport_size({"width": width, "height": 800})
        page.reload()
        page.wait_for_selector("#quality svg")
        drawn = "svg => svg.getBoundingClientRect().width / svg.viewBox.baseVal.width"
        assert page.eval_on_selector("#quality svg", drawn) == pytest.approx(1, abs=0.02), "letters of one size"
    assert page.wrong == []
    assert running.stop() == 0

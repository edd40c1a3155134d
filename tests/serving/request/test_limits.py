"""What one request may ask for, in whatever kind of row; nothing is decoded before it is known to be allowed."""

from __future__ import annotations

import asyncio
import base64
import io
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile
from PIL import Image
from starlette.testclient import TestClient

from flywheel.modality.audio.data.preprocessor import AudioPreprocessor
from flywheel.modality.image.data.preprocessor import ImagePreprocessor
from flywheel.modality.interactions.data.preprocessor import InteractionsPreprocessor
from flywheel.modality.interactions.data.target import ItemTarget
from flywheel.modality.joint.data.preprocessor import JointPreprocessor
from flywheel.modality.tabular.data.preprocessor import TabularPreprocessor
from flywheel.modality.text.data.preprocessor import TextPreprocessor
from flywheel.modality.text.data.tokeniser.word import WordTokeniser
from flywheel.preprocessor.base import Preprocessor
from flywheel.preprocessor.target import ClassTarget
from flywheel.preprocessor.task import TaskPreprocessor
from flywheel.serving.problem import RequestError
from flywheel.serving.settings import ServingSettings
from flywheel.serving.version.explain import explain
from flywheel.serving.version.served import ChampionVersion, Served

PREDICT, EXPLAIN = "/v1/tasks/digits/predict", "/v1/tasks/digits/explain"
Array = np.ndarray[Any, Any]


class Counting:
    """A predictor that counts the rows it is given, and can be held up."""

    def __init__(self, inputs: Preprocessor, target: Any = None) -> None:
        self.preprocessor = TaskPreprocessor(inputs, target or ClassTarget())
        self.batches: list[int] = []
        self.go_on = threading.Event()
        self.go_on.set()

    def answers(self, frame: pd.DataFrame) -> dict[str, Array]:
        self.go_on.wait(10)
        self.batches.append(len(frame))
        return {"label": frame.index.to_numpy()}

    def scores(self, frame: pd.DataFrame) -> Array:
        self.answers(frame)
        return np.zeros(len(frame))


def ask(predictor: Counting, rows: list[Any], **settings: Any) -> Any:
    async def main() -> Any:
        with ThreadPoolExecutor(1) as pool:
            return await served_of(predictor, pool, **settings).answer(rows)

    return asyncio.run(main())


def served_of(predictor: Counting, pool: ThreadPoolExecutor, **settings: Any) -> Served:
    champion = ChampionVersion("task", 1, "a" * 64, "folder", {})
    return Served(champion, predictor, {}, ServingSettings(**settings), pool)  # type: ignore[arg-type]


def refused(predictor: Counting, rows: list[Any], **settings: Any) -> str:
    with pytest.raises(RequestError) as caught:
        ask(predictor, rows, **settings)
    assert caught.value.status == 413
    assert not predictor.batches, "nothing is decoded, nothing is answered"
    return str(caught.value)


def picture(width: int, height: int, kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.new("L", (width, height)).save(file, kind)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "WEBP"])
def test_pixels_are_counted_by_the_headers_of_files(kind: str) -> None:
    large = picture(100, 50, kind)
    for value in (large, base64.b64encode(large).decode()):
        words = refused(Counting(ImagePreprocessor([8, 8], 1)), [{"image": value}] * 3, max_request_pixels=14_999)
        assert words == (
            "body: holds 15,000 pixels, more than 14,999; send less at a time (the server's max_request_pixels decides)"
        )
        ask(Counting(ImagePreprocessor([8, 8], 1)), [{"image": value}] * 3, max_request_pixels=15_000)


def test_pixels_in_lists_and_arrays_are_counted_and_what_is_no_picture_is_left_to_its_reader() -> None:
    for value in ([[0] * 10] * 10, np.zeros((10, 10), np.uint8)):
        assert "holds 200 pixels" in refused(
            Counting(ImagePreprocessor([8, 8], 1)), [{"image": value}] * 2, max_request_pixels=9
        )
    for value in (None, "no base64!", b"", b"GIF89a", 7, {"a": 1}, [], [[]], [None]):
        ask(Counting(ImagePreprocessor([8, 8], 1)), [{"image": value}], max_request_pixels=9)


def test_samples_of_sound_are_counted_over_all_channels() -> None:
    for kind in ("WAV", "FLAC", "OGG"):
        file = io.BytesIO()
        soundfile.write(file, np.zeros((1000, 2), np.float32), 8000, format=kind)
        for value in (file.getvalue(), base64.b64encode(file.getvalue()).decode()):
            words = refused(Counting(AudioPreprocessor()), [{"audio": value}] * 2, max_request_samples=3999)
            assert "holds 4,000 samples of sound, more than 3,999" in words
    for value in (None, "RIFF", b"RIFF", b"", 1, []):
        ask(Counting(AudioPreprocessor()), [{"audio": value}], max_request_samples=1)


def test_characters_of_texts_tables_and_histories_are_counted() -> None:
    text = TextPreprocessor(WordTokeniser())
    assert "holds 1,500 characters, more than 1,499" in refused(
        Counting(text), [{"text": "a" * 15}] * 100, max_request_characters=1499
    )
    table = TabularPreprocessor()
    table.fit([pd.DataFrame({"city": ["a", "b", "a"], "size": [1.0, 2.0, 3.0]})])
    rows = [{"city": "x" * 50, "size": 1.0}]
    assert "holds 51 characters" in refused(Counting(table), rows, max_request_characters=50)
    users = InteractionsPreprocessor()
    rows = [{"user": "7", "history": ["ab"] * 10}]
    assert "characters" in refused(Counting(users, ItemTarget()), rows, max_request_characters=20)


def test_a_row_of_several_kinds_holds_what_all_of_them_hold() -> None:
    joint = JointPreprocessor(
        {"photo": ImagePreprocessor([8, 8], 1), "title": TextPreprocessor(WordTokeniser(), column="title")},
        {"photo": ["image"], "title": ["title"]},
    )
    row = {"image": picture(30, 20), "title": "abc"}
    assert "holds 600 pixels" in refused(Counting(joint), [row], max_request_pixels=599)
    assert "holds 3 characters" in refused(Counting(joint), [row], max_request_characters=2)
    ask(Counting(joint), [row], max_request_pixels=600, max_request_characters=3)


def test_items_that_are_asked_for_are_counted_up_to_the_catalogue() -> None:
    target = ItemTarget(top_k=2)
    target.fit([pd.Series([str(n) for n in range(20)], dtype=object)])
    inputs = InteractionsPreprocessor()
    for k in (1_000_000, "1e6", 1e30, float("inf")):
        words = refused(Counting(inputs, target), [{"user": "1", "k": k}] * 100, max_request_answers=1999)
        assert "asks for 2,000 values as its answer, more than 1,999" in words
    for k, number in ((None, 2), ("", 2), (3, 3), ("x", 0), ([1], 0), (-1, 0), (float("nan"), 2)):
        ask(Counting(inputs, target), [{"user": "1", "k": k}] * 10, max_request_answers=max(1, 10 * number))


def test_to_count_a_row_looks_for_no_module(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand rows are counted in the event loop: what is looked for once must be remembered."""
    inputs = TextPreprocessor(WordTokeniser())
    ask(Counting(inputs), [{"text": "a"}])
    monkeypatch.setattr("importlib.util.find_spec", lambda *_: pytest.fail("looks for a module"))
    ask(Counting(inputs), [{"text": "a"}] * 10)


def test_heavy_rows_are_slices_of_their_own_and_errors_keep_the_rows_number() -> None:
    predictor = Counting(TextPreprocessor(WordTokeniser()))
    settings = {"max_request_characters": 1600, "max_batch_rows": 4}  # a batch: 4 rows, or 100 characters
    found = ask(predictor, [{"text": "a" * size} for size in (100, 100, 50, 50, 1, 1, 1)], **settings)
    assert predictor.batches == [1, 1, 2, 3]
    assert found.columns["label"].tolist() == list(range(7)), "rows keep their numbers, for messages"


def test_a_deadline_stops_the_work_between_rows_and_others_go_on() -> None:
    predictor = Counting(TextPreprocessor(WordTokeniser()))

    async def main() -> None:
        with ThreadPoolExecutor(1) as pool:
            served = served_of(predictor, pool, max_request_characters=1600)
            predictor.go_on.clear()
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await served.answer([{"text": "a" * 100}] * 16)
            predictor.go_on.set()
            await served.answer([{"text": "b"}])

    asyncio.run(main())
    assert predictor.batches == [1, 1], "one row of the large request, and the small one"


def test_requests_beyond_a_limit_are_answered_with_413(
    client_of: Callable[..., TestClient], test_images: Array
) -> None:
    client = client_of(max_request_pixels=128, max_request_answers=24)  # two pictures of 8 x 8, two rows of 12 columns
    image = test_images[0].tolist()
    assert client.post(PREDICT, json={"instances": [image] * 2}).status_code == 200
    files = [("image", ("a.png", picture(12, 12)))]
    tensor = {"inputs": [{"name": "image", "shape": [3, 8, 8], "datatype": "UINT8", "data": [image] * 3}]}
    for answer in (
        client.post(PREDICT, json={"instances": [image] * 3}),
        client.post(PREDICT, files=files),
        client.post(PREDICT, content=picture(12, 12), headers={"content-type": "image/png"}),
        client.post(EXPLAIN, json={"image": base64.b64encode(picture(12, 12)).decode()}),
        client.post("/v2/models/digits/infer", json=tensor),
    ):
        assert answer.status_code == 413, answer.text
        assert "max_request_pixels" in answer.text
    answer = client_of(max_request_answers=24).post(PREDICT, json={"instances": [image] * 3})
    assert (answer.status_code, answer.json()["error"]["what"]) == (
        413, "asks for 36 values as its answer, more than 24",
    )  # fmt: skip


def test_a_long_text_is_not_explained_and_nobody_works_on_for_one_who_has_given_up() -> None:
    inputs = TextPreprocessor(WordTokeniser(min_count=1))
    inputs.fit([pd.DataFrame({"text": ["a b", "b c"]})])
    predictor = Counting(inputs)
    with ThreadPoolExecutor(1) as pool:
        served = served_of(predictor, pool, max_request_characters=6400)
        served.limits.check_explained(served.load_of({"text": "a" * 100}))
        with pytest.raises(RequestError, match="holds 101 characters, more than 100"):
            served.limits.check_explained(served.load_of({"text": "a" * 101}))
    calls = iter(range(100))

    def proceed() -> None:
        if next(calls) == 3:
            raise TimeoutError

    frame = pd.DataFrame({"text": ["a b c " * 200]})
    predictor.preprocessor.answers = lambda scores, rows: {"label": scores}  # type: ignore[method-assign, assignment]
    with pytest.raises(TimeoutError):
        explain(predictor, frame, proceed)  # type: ignore[arg-type]
    assert predictor.batches == [1, 16], "the whole row, and sixteen of its 64 parts"

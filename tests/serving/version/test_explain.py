"""What an answer hangs on: parts of rows whose worth is known, for each kind of row, and the route."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from starlette.testclient import TestClient

from flywheel.modality.audio.data.clip import Clip
from flywheel.modality.audio.data.preprocessor import AudioPreprocessor
from flywheel.modality.image.data.preprocessor import ImagePreprocessor
from flywheel.modality.interactions.data.preprocessor import InteractionsPreprocessor
from flywheel.modality.joint.data.preprocessor import JointPreprocessor
from flywheel.modality.tabular.data.preprocessor import TabularPreprocessor
from flywheel.modality.text.data.preprocessor import TextPreprocessor
from flywheel.modality.text.data.tokeniser.word import WordTokeniser
from flywheel.preprocessor.base import Preprocessor
from flywheel.serving.row import choices_of, fields_of
from flywheel.serving.version.explain import Explained, explain

Array = np.ndarray[Any, Any]
EXPLAIN = "/v1/tasks/digits/explain"
TEXTS = pd.DataFrame({"text": ["a good film", "a bad film", "so so"]})
TABLE = pd.DataFrame({"size": [1.0, 2.0, 3.0, 4.0, 5.0], "colour": ["red", "red", "red", "blue", "blue"]})


def fitted(inputs: Preprocessor, frame: pd.DataFrame) -> Preprocessor:
    inputs.fit([inputs.clean(frame)[0]])
    return inputs


def explained(inputs: Preprocessor, frame: pd.DataFrame, score: Callable[[pd.DataFrame], Array]) -> Explained:
    """Explain the first row's answer by a model that is known; each row goes through the preprocessor as well."""

    def scores(rows: pd.DataFrame) -> Array:
        inputs.transform(rows)
        return np.asarray(score(rows))

    def answers(found: Array, rows: pd.DataFrame) -> dict[str, Array]:
        return {"label": found.argmax(axis=1) if found.ndim == 2 else found}

    preprocessor = SimpleNamespace(inputs=inputs, answers=answers)
    return explain(SimpleNamespace(scores=scores, preprocessor=preprocessor), frame.iloc[:1])  # type: ignore[arg-type]


def two_classes(logit: Callable[[Any], float], values: pd.Series) -> Array:
    share = 1 / (1 + np.exp(-np.array([logit(value) for value in values])))
    return np.stack([1 - share, share], axis=1)


def logit_of(text: str) -> float:
    return 2.0 * ("good" in text) - 3.0 * ("bad" in text)


def test_words_are_worth_what_they_add_to_the_log_odds() -> None:
    inputs = fitted(TextPreprocessor(WordTokeniser(), max_length=8), TEXTS)
    row = pd.DataFrame({"text": ["  a good  bad film"]})
    found = explained(inputs, row, lambda rows: two_classes(logit_of, rows["text"]))
    (group,) = found.groups
    assert (found.label, found.measure, group["kind"]) == (0, "probability", "words")
    assert found.value == pytest.approx(1 / (1 + np.exp(-1.0)))
    text = group["about"]["text"]
    assert [text[start:end] for start, end in group["about"]["spans"]] == ["a", "good", "bad", "film"]
    assert group["weights"] == pytest.approx([0, -2, 3, 0], abs=1e-9)  # the class is the one that `bad` speaks for
    assert group["without"][2] == pytest.approx(1 - 1 / (1 + np.exp(-2.0)))


def test_a_sure_answer_is_told_apart_where_float32_is_1() -> None:
    inputs = fitted(TextPreprocessor(WordTokeniser(), max_length=8), TEXTS)
    row = pd.DataFrame({"text": ["good film"]})

    def sure(rows: pd.DataFrame) -> Array:
        return two_classes(lambda text: 20.0 + 2 * ("good" in text), rows["text"]).astype(np.float32)

    assert explained(inputs, row, sure).groups[0]["weights"] == pytest.approx([2, 0], rel=1e-3, abs=1e-3)


@pytest.mark.parametrize(("text", "parts"), [("good", 0), ("word " * 1000, 64)])
def test_one_word_has_no_parts_and_many_words_are_hidden_in_runs(text: str, parts: int) -> None:
    inputs = fitted(TextPreprocessor(WordTokeniser(), max_length=8), TEXTS)
    row = pd.DataFrame({"text": [text]})
    found = explained(inputs, row, lambda rows: two_classes(logit_of, rows["text"]))
    assert sum(len(group["weights"]) for group in found.groups) == parts


def test_only_that_part_of_a_picture_counts_that_the_model_looks_at() -> None:
    picture = np.full((28, 20), 7, np.uint8)
    picture[2:8, 2:8] = 200
    picture[20:26, 10:18] = 200
    inputs = fitted(ImagePreprocessor(), pd.DataFrame({"image": [picture, picture]}))

    def top(rows: pd.DataFrame) -> Array:
        return two_classes(lambda image: float(image[:14].astype(float).mean() / 10 - 1), rows["image"])

    found = explained(inputs, pd.DataFrame({"image": [picture]}), top)
    (group,) = found.groups
    assert group["about"] == {"rows": 14, "columns": 14, "height": 28, "width": 20}
    worth = np.array(group["weights"]).reshape(14, 14)
    assert np.abs(worth[8:]).max() < 1e-9, "the lower half is not looked at"
    assert worth[1:4, 2:5].min() > 0
    assert np.abs(worth[:6, 9:]).max() < 1e-9, "there is nothing but the ground"


def test_small_and_coloured_pictures_have_parts_too() -> None:
    for shape in ((1, 1), (3, 2), (5, 5, 3)):
        picture = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
        inputs = fitted(ImagePreprocessor(), pd.DataFrame({"image": [picture, picture]}))
        found = explained(
            inputs,
            pd.DataFrame({"image": [picture]}),
            lambda rows: two_classes(lambda x: float(x.sum()), rows["image"]),
        )
        assert len(found.groups[0]["weights"]) == shape[0] * shape[1]


def test_columns_are_brought_to_what_is_usual() -> None:
    inputs = fitted(TabularPreprocessor(), TABLE)
    row = pd.DataFrame({"size": [5.0], "colour": ["blue"]})

    def price(rows: pd.DataFrame) -> Array:
        return np.array([2 * float(size) + 10 * (colour == "blue") for size, colour in rows.to_numpy()])

    found = explained(inputs, row, price)
    (group,) = found.groups
    assert (found.measure, found.value) == ("number", 20.0)
    assert group["about"] == {"names": ["size", "colour"], "values": [5.0, "blue"], "usual": [3.0, "red"]}
    assert group["weights"] == [4.0, 10.0]
    assert group["without"] == [16.0, 10.0]
    assert choices_of(inputs) == {"colour": [{"value": "red"}, {"value": "blue"}]}


@pytest.mark.parametrize("form", ["%d/%m/%Y", "%Y-%m-%d", "%d.%m.%Y %H:%M", "ISO8601"])
def test_the_usual_date_is_written_as_the_table_reads_it(form: str) -> None:
    days = pd.date_range("2020-01-03", periods=30, freq="D")
    written = days.strftime("%Y-%m-%d" if form == "ISO8601" else form)
    table = pd.DataFrame({"when": list(written), "size": [str(number) for number in range(30)]})
    inputs = fitted(TabularPreprocessor(types={"when": "date"}, date_formats=[form]), table)
    found = explained(inputs, table.iloc[:1], lambda rows: np.array([float(size) for size in rows["size"]]))
    assert found.groups[0]["about"]["usual"][0] == written[14]


def test_a_recording_is_silenced_span_by_span() -> None:
    import soundfile

    time = np.arange(4000) / 8000
    stream = io.BytesIO()
    soundfile.write(stream, 0.5 * np.sin(2 * np.pi * 440 * time), 8000, format="WAV")
    row = pd.DataFrame({"audio": [stream.getvalue()]})
    inputs = fitted(AudioPreprocessor(8000, trim_db=None), pd.concat([row, row]))

    def late(rows: pd.DataFrame) -> Array:
        clips = [value if isinstance(value, Clip) else inputs.clean(row)[0]["audio"].iloc[0] for value in rows["audio"]]
        return np.array([float(np.abs(clip.samples[2000:]).sum()) for clip in clips])

    found = explained(inputs, row, late)
    (group,) = found.groups
    assert group["about"]["seconds"][-1] == pytest.approx(0.5)
    assert len(group["weights"]) == len(group["about"]["seconds"]) - 1 == 24
    assert max(np.abs(group["weights"][:11])) < 1e-6 < min(group["weights"][13:])


@pytest.fixture
def ranker() -> InteractionsPreprocessor:
    made = InteractionsPreprocessor()
    frame = pd.DataFrame({"user": ["7", "7", "7", "8"], "label": ["a", "b", "c", "a"], "time": [1.0, 2.0, 3.0, 1.0]})
    made.fit([frame.assign(title=["Alpha", "Beta", "Gamma", "Alpha"])])
    return made


@pytest.mark.parametrize("row", [{"user": "7"}, {"user": "7", "history": ["b", "a", "c"]}, {"history": "b a c"}])
def test_items_that_a_user_had_are_forgotten_one_by_one(ranker: InteractionsPreprocessor, row: dict[str, Any]) -> None:
    def scores(rows: pd.DataFrame) -> Array:
        had = ranker.transform(rows)["history"]
        names = [{ranker.items[code - 1] for code in codes if code} for codes in had]
        return np.array([[0.0, 1.0 + 3 * ("b" in own) - ("c" in own), 0.5] for own in names])

    found = explained(ranker, pd.DataFrame({key: [value] for key, value in row.items()}), scores)
    (group,) = found.groups
    assert (found.measure, found.value) == ("score", 3.0)
    worth = dict(zip(group["about"]["titles"], group["weights"], strict=True))
    assert worth == {"Alpha": 0.0, "Beta": 3.0, "Gamma": -1.0}


def test_a_new_user_has_no_parts_and_users_and_items_can_be_chosen(ranker: InteractionsPreprocessor) -> None:
    found = explained(ranker, pd.DataFrame({"user": ["new"]}), lambda rows: np.array([[0.1, 3.0, 0.2]] * len(rows)))
    assert found.groups == []
    choices = choices_of(ranker)
    assert choices["user"] == [{"value": "7"}, {"value": "8"}]
    assert choices["history"][0] == {"value": "a", "title": "Alpha"}


def test_rows_of_several_kinds_have_the_parts_of_all() -> None:
    frame = TABLE.assign(text=["a good film", "a bad film", "so so", "good", "bad"])
    inputs = JointPreprocessor(
        {"title": TextPreprocessor(WordTokeniser(), max_length=8), "facts": TabularPreprocessor()}, {"title": ["text"]}
    )
    inputs.met(list(frame.columns))
    fitted(inputs, frame)
    row = pd.DataFrame({"size": [5.0], "colour": ["blue"], "text": ["good film"]})

    def mixed(rows: pd.DataFrame) -> Array:
        return np.array([logit_of(text) + float(size) for text, size in zip(rows["text"], rows["size"], strict=True)])

    found = explained(inputs, row, mixed)
    worth = {group["input"]: group["weights"] for group in found.groups}
    assert worth == {"title: text": [2.0, 0.0], "facts": [2.0, 0.0]}
    assert [group["form"] for group in found.groups] == ["text", "tabular"]
    assert {name: field.form for name, field in fields_of(inputs).items()} == {
        "text": "text", "size": "tabular", "colour": "tabular"
    }  # fmt: skip


def test_the_route_explains_what_predict_answers(client: TestClient, test_images: Array, encode: Any) -> None:
    answer = client.post("/v1/tasks/digits/predict", json={"image": test_images[0].tolist()}).json()
    said = answer["predictions"][0]
    told = client.post(EXPLAIN, json={"image": test_images[0].tolist()}).json()
    assert (told["label"], told["value"], told["version"]) == (said["label"], said["probability"], 1)
    (group,) = told["groups"]
    assert (group["kind"], group["form"], len(group["weights"])) == ("grid", "image", 64)
    assert max(group["weights"]) > 0
    files = {"image": ("a.png", encode.png(test_images[0]))}
    assert client.post(EXPLAIN, files=files).json() == told


def test_one_row_is_explained_and_what_is_wrong_is_said(client: TestClient, test_images: Array) -> None:
    two = client.post(EXPLAIN, json={"instances": test_images[:2].tolist()})
    assert (two.status_code, two.json()["error"]["fix"]) == (400, "explain one row at a time")
    assert client.post(EXPLAIN, json={"image": [[1, 2]]}).status_code == 422
    assert client.post(EXPLAIN, content=b"{").status_code == 400
    assert client.post("/v1/tasks/unknown/explain", json={}).status_code == 404
    choices = client.get("/v1/tasks/digits/choices").json()
    assert choices["inputs"] == {}
    assert set(choices["example"]) == {"image"}
    about = {"height": 8, "width": 8, "channels": 1, "exact": True}
    assert client.get("/v1/tasks/digits").json()["fields"] == {
        "image": {"form": "image", "about": about, "answers": False}
    }


def test_an_explanation_that_is_given_up_keeps_its_turn_until_it_ends(
    client_of: Callable[..., TestClient], test_images: Array, monkeypatch: pytest.MonkeyPatch
) -> None:
    on, counts = threading.Event(), {"now": 0, "most": 0, "all": 0}

    def slow(*_: Any) -> Explained:
        counts["now"] += 1
        counts["all"] += 1
        counts["most"] = max(counts["most"], counts["now"])
        on.wait(60)
        counts["now"] -= 1
        return Explained("1", 1.0, "probability", [])

    monkeypatch.setattr("flywheel.serving.http.explain_route.explain", slow)
    client = client_of(request_seconds=0.3)
    row = {"image": test_images[0].tolist()}
    assert [client.post(EXPLAIN, json=row).status_code for _ in range(3)] == [504] * 3
    on.set()
    for _ in range(100):
        if client.post(EXPLAIN, json=row).status_code == 200:
            break
    assert counts["most"] == 1
    assert counts["all"] < 4, "those that were given up while they waited are not begun"

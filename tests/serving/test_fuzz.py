"""Nothing that is sent may end in a 5xx: requests made from the OpenAPI description, and files that were bent."""

from __future__ import annotations

import io
import random
import struct
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import soundfile
from PIL import Image
from starlette.testclient import TestClient

from flywheel.serving.http.access import read_tokens
from flywheel.serving.http.app import make_gateway
from flywheel.serving.http.metrics import Metrics
from flywheel.serving.row import parts_of
from flywheel.serving.settings import ServingSettings
from flywheel.serving.version.recording import RecordingQueue
from flywheel.serving.version.repository import ModelRepository
from flywheel.serving.version.served import ChampionVersion

pytestmark = pytest.mark.xdist_group("serving_fuzz")
PREDICT, INFER = "/v1/tasks/digits/predict", "/v2/models/digits/infer"
EXPLAIN = "/v1/tasks/digits/explain"
NUM_FUZZED = 150
TOKENS, HEADERS = {"FLYWHEEL_TOKENS": "web 0123456789abcdef"}, {"authorization": "Bearer 0123456789abcdef"}
SEEN = {"days": 7, "check": None, "why_not": "", "volumes": [], "champions": [], "loop": []}
Array = np.ndarray[Any, Any]


@pytest.mark.slow
def test_requests_made_from_the_description_are_answered_as_it_says(champion: ChampionVersion, encode: Any) -> None:
    import hypothesis  # here: loading these two takes seconds, of every collection
    import schemathesis
    from schemathesis.specs.openapi import checks as conformance

    checks = [
        schemathesis.checks.not_a_server_error, conformance.status_code_conformance,
        conformance.content_type_conformance, conformance.response_schema_conformance,
    ]  # fmt: skip
    settings, metrics = ServingSettings(record="full"), Metrics()
    with ThreadPoolExecutor(2) as executor:
        models = ModelRepository(settings, executor, metrics)
        models.put(champion)
        recording = RecordingQueue(encode.Kept(), "full", 100, metrics.unrecorded.inc)
        gateway = make_gateway(
            models, settings, metrics, tokens=read_tokens(None, TOKENS), recording=recording, look=lambda _: SEEN
        )
        api = schemathesis.openapi.from_asgi("/openapi.json", gateway, headers=HEADERS)
        operations = [found.ok() for found in api.get_all_operations()]
        assert len(operations) >= 17

        for operation in operations:

            @hypothesis.settings(
                max_examples=12, deadline=None, derandomize=True, database=None,
                suppress_health_check=list(hypothesis.HealthCheck),
            )  # fmt: skip
            @hypothesis.given(case=operation.as_strategy())
            def check(case: Any) -> None:
                # A preprocessor takes more than its schema says (a number for a text), and refuses what none can say.
                case.call_and_validate(headers=HEADERS, checks=checks)

            check()
        recording.close()


def bent(content: bytes, chance: random.Random) -> bytes:
    """A file with some bytes changed, cut off, doubled or put in."""
    data = bytearray(content)
    for _ in range(chance.randint(1, 8)):
        place = chance.randrange(len(data)) if data else 0
        kind = chance.randrange(5)
        if kind == 0 and data:
            data[place] = chance.randrange(256)
        elif kind == 1:
            del data[place:]
        elif kind == 2:
            data[place:place] = data[: chance.randint(1, 64)]
        elif kind == 3:
            data[place : place + 4] = struct.pack("<I", chance.choice([0, 1, 0x7FFFFFFF, 0xFFFFFFFF]))
        else:
            data[place:place] = chance.randbytes(chance.randint(1, 32))
    return bytes(data)


def encoded(kind: str, image: Array) -> bytes:
    file = io.BytesIO()
    if kind == "npy":
        np.save(file, image)
    else:
        Image.fromarray(image).save(file, kind)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "GIF", "WEBP", "npy"])
def test_bent_pictures_are_answered_or_refused(client: TestClient, test_images: Array, kind: str) -> None:
    chance = random.Random(kind)
    content = encoded(kind, test_images[0])
    assert client.post(PREDICT, files={"image": content}).status_code == 200
    for number in range(NUM_FUZZED):
        wrong = bent(content, chance)
        if number % 2:
            answer = client.post(PREDICT, files={"image": wrong})
        else:
            answer = client.post(PREDICT, content=wrong, headers={"content-type": "application/octet-stream"})
        assert answer.status_code in (200, 400, 413, 422), answer.text


def test_bent_json_forms_and_tensors_are_answered_or_refused(client: TestClient, test_images: Array) -> None:
    import json

    chance = random.Random(0)
    body = json.dumps({"instances": [{"image": test_images[0].tolist()}]}).encode()
    head = json.dumps({"inputs": [{"name": "image", "shape": [1, 8, 8], "datatype": "UINT8",
                                   "parameters": {"binary_data_size": 64}}]}).encode()  # fmt: skip
    form = b'--x\r\ncontent-disposition: form-data; name="image"; filename="a"\r\n\r\n%s\r\n--x--\r\n'
    form %= encoded("PNG", test_images[0])
    form_type = {"content-type": "multipart/form-data; boundary=x"}
    length = {"inference-header-content-length": str(len(head))}
    assert client.post(PREDICT, content=form, headers=form_type).status_code == 200
    for _ in range(NUM_FUZZED):
        for answer in (
            client.post(PREDICT, content=bent(body, chance)),
            client.post(EXPLAIN, content=bent(body, chance)),
            client.post(PREDICT, content=bent(form, chance), headers=form_type),
            client.post(EXPLAIN, content=bent(form, chance), headers=form_type),
            client.post(
                PREDICT, content=form, headers={"content-type": bent(b"multipart/form-data; boundary=x", chance)}
            ),
            client.post(INFER, content=bent(head + bytes(64), chance), headers=length),
        ):
            assert answer.status_code in (200, 400, 413, 415, 422), answer.text


def test_files_that_promise_more_than_they_hold_are_refused(client: TestClient) -> None:
    def npy(header: str) -> bytes:
        text = header.encode().ljust(117) + b"\n"
        return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text

    wrong = [
        npy("{'descr': '|u1', 'fortran_order': False, 'shape': (1000000000000, 8, 8)}"),
        npy("{'descr': '|u1', 'fortran_order': False, 'shape': (-1, 8)}"),
        npy("{'descr': '|O', 'fortran_order': False, 'shape': (1, 8, 8)}"),
        npy("{'descr': '|u1', 'fortran_order': False, 'shape': (0, 8, 8)}"),
        npy("__import__('os').system('true')"),
        npy("{" * 100),
        b"\x93NUMPY\x09\x00",
    ]
    large = io.BytesIO()
    Image.new("1", (30_000, 30_000)).save(large, "PNG")  # 0.9 gigapixels in 110 kB
    for content in [*wrong, large.getvalue()]:
        answer = client.post(PREDICT, files={"image": content})
        assert answer.status_code == 422, answer.text
    assert "pixels" in answer.json()["error"]["what"]


def test_bent_recordings_are_answered_or_refused() -> None:
    """The reader of recordings alone: what it refuses, the server answers with 422, as it does pictures."""
    from flywheel.modality.audio.data.clip import as_recording
    from flywheel.modality.audio.data.file import AudioError

    chance = random.Random(1)
    tone = np.sin(np.arange(2000) / 5).astype(np.float32)
    for kind in ("WAV", "FLAC", "OGG"):
        file = io.BytesIO()
        soundfile.write(file, tone, 8000, format=kind)
        assert len(as_recording(file.getvalue()).samples) == 2000
        for _ in range(NUM_FUZZED):
            try:
                as_recording(bent(file.getvalue(), chance))
            except AudioError:
                continue


@pytest.mark.parametrize(
    "value", [{}, [], [[]], True, -1, 1.5, "", "x" * 100, {"a": [1]}, [None], [[None]], [{"a": 1}], 10**30]
)
def test_any_value_of_an_input_is_answered_or_refused(client: TestClient, value: Any) -> None:
    for body in ({"image": value}, {"instances": value}, {"instances": [value]}, {"instances": [{"image": value}]}):
        assert client.post(PREDICT, json=body).status_code in (400, 422)
        assert client.post(EXPLAIN, json=body).status_code in (400, 422)


STRANGE = [
    None,
    {},
    [],
    [[]],
    True,
    -1,
    0,
    1.5,
    1e300,
    "",
    " ",
    "x" * 5000,
    {"a": [1]},
    [None],
    [{"a": 1}],
    ["1", 2],
    10**30,
]


@pytest.mark.parametrize("make", ["text", "table", "interactions"])
def test_any_value_is_refused_by_every_preprocessor_in_its_own_words(make: str, frames: Callable[[str], Any]) -> None:
    from flywheel.project.errors import DataError

    preprocessor, row = frames(make)
    from flywheel.serving.request.rows import RowReader

    reader = RowReader(preprocessor.inputs.schema(), 10)
    for name in reader.names:
        for value in STRANGE:
            frame = reader.frame([{**row, name: value}])
            try:
                inputs = preprocessor.transform(frame)
                preprocessor.decode(np.full((1, 3), 0.5, np.float32), frame)
            except DataError:
                continue
            assert all(len(array) == 1 for array in inputs.values())
            for group in parts_of(preprocessor.inputs, frame):  # what is answered can be explained
                assert len(group.frame) == len(group.hides)
                if len(group.frame):
                    preprocessor.transform(group.frame)


@pytest.fixture
def frames() -> Callable[[str], Any]:
    """A fitted preprocessor of three classes or items, and a good row."""
    import pandas as pd

    from flywheel.modality.interactions.data.preprocessor import InteractionsPreprocessor
    from flywheel.modality.interactions.data.target import ItemTarget
    from flywheel.modality.tabular.data.preprocessor import TabularPreprocessor
    from flywheel.modality.text.data.preprocessor import TextPreprocessor
    from flywheel.modality.text.data.tokeniser.word import WordTokeniser
    from flywheel.preprocessor.target import ClassTarget
    from flywheel.preprocessor.task import TaskPreprocessor

    texts = pd.DataFrame({"text": ["one two", "two three", "three one"] * 4, "label": ["a", "b", "c"] * 4})
    dates = ["2024-01-02"] * 6 + ["2024-02-03"] * 6
    table = pd.DataFrame({"n": [1.5, 2.5, None] * 4, "c": ["u", "v", "w"] * 4, "d": dates,
                          "b": [True, False, True] * 4, "label": ["a", "b", "c"] * 4})  # fmt: skip
    taken = pd.DataFrame({"user": ["1", "2", "3"] * 4, "history": [[]] * 12, "label": ["7", "8", "9"] * 4})

    def run(kind: str) -> Any:
        inputs: Any = {"text": lambda: TextPreprocessor(WordTokeniser(min_count=1)), "table": TabularPreprocessor,
                       "interactions": InteractionsPreprocessor}[kind]()  # fmt: skip
        target: Any = ItemTarget() if kind == "interactions" else ClassTarget()
        frame = {"text": texts, "table": table, "interactions": taken}[kind]
        target.fit([frame["label"]])
        inputs.fit([inputs.clean(frame)[0]])
        row = {name: frame[name].iloc[0] for name in inputs.schema()["properties"] if name in frame.columns}
        return TaskPreprocessor(inputs, target), row

    return run

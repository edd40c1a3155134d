from __future__ import annotations

import base64
import gzip
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from flywheel.project.errors import RegistryError
from flywheel.serving.version.served import ChampionVersion

PREDICT = "/v1/tasks/digits/predict"
Array = np.ndarray[Any, Any]


def test_every_test_row_is_answered_with_the_very_scores_of_the_export_stage(
    client: TestClient, test_images: Array, test_scores: Array, encode: Any, champion: ChampionVersion
) -> None:
    """No skew: rows alone, rows together, pixels, pictures and arrays all give the same bits."""
    wanted = test_scores.astype(np.float64).tolist()
    images = test_images.tolist()
    answer = client.post(PREDICT, json={"instances": [{"image": image} for image in images]}).json()
    assert encode.scores_of(answer) == wanted
    assert answer["version"] == 1
    assert answer["model_sha256"] == champion.model_sha256
    assert len({row["prediction_id"] for row in answer["predictions"]}) == len(wanted)
    best = [str(n) for n in test_scores.argmax(1)]
    assert [row["label"] for row in answer["predictions"]] == best
    alone = [client.post(PREDICT, json={"image": image}).json() for image in images]
    assert [encode.scores_of(one)[0] for one in alone] == wanted
    files = [("image", (f"{n}.png", encode.png(image))) for n, image in enumerate(test_images)]
    assert encode.scores_of(client.post(PREDICT, files=files).json()) == wanted
    array = {"file": ("rows.npy", encode.npy(test_images))}
    assert encode.scores_of(client.post(PREDICT, files=array).json()) == wanted
    texts = [base64.b64encode(encode.png(image)).decode() for image in test_images]
    assert encode.scores_of(client.post(PREDICT, json={"instances": texts}).json()) == wanted


def test_a_bare_picture_and_a_packed_body_will_do(
    client: TestClient, test_images: Array, test_scores: Array, encode: Any
) -> None:
    wanted = test_scores[:1].astype(np.float64).tolist()
    bare = client.post(PREDICT, content=encode.png(test_images[0]), headers={"content-type": "image/png"})
    assert encode.scores_of(bare.json()) == wanted
    packed = gzip.compress(json.dumps({"image": test_images[0].tolist()}).encode())
    headers = {"content-encoding": "gzip", "content-type": "application/json"}
    assert encode.scores_of(client.post(PREDICT, content=packed, headers=headers).json()) == wanted


def test_a_picture_of_another_format_is_refused_and_starts_no_program(
    client: TestClient, unpromised: bytes, called_gs: Callable[[], str]
) -> None:
    text = base64.b64encode(unpromised).decode()
    answers = [
        client.post(PREDICT, files={"image": ("a.png", unpromised)}),
        client.post(PREDICT, content=unpromised, headers={"content-type": "image/png"}),
        client.post(PREDICT, json={"image": text}),
        client.post("/v1/tasks/digits/explain", json={"image": text}),
    ]
    assert [answer.status_code for answer in answers] == [422] * 4, [answer.text for answer in answers]
    assert all("is not a readable picture" in answer.text for answer in answers)
    assert called_gs() == ""


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b"", 400, "is empty"),
        (b"{", 400, "is not JSON"),
        (b"[]", 400, "is a list"),
        (b'{"image": NaN}', 400, "is not JSON"),
        (b'{"image": [[1, Infinity]]}', 400, "is not JSON"),
        (b'{"image": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", 400, "nested more than 32 deep"),
        (b"[" * 40 + b'"' + b'\\"' * 1_000_000, 400, "nested more than 32 deep"),  # no quote is tried twice
        (b'{"image": "]]]]", "a": ' + b'["]",' * 50 + b"1" + b"]" * 50 + b"}", 400, "nested more than 32 deep"),
        (b'{"instances": []}', 400, "is not a list of rows"),
        (b'{"instances": [{"image": 1}], "k": 1}', 400, "has 'k' beside 'instances'"),
        (b'{"imag": [[1]]}', 422, "has 'imag', which is not an input; did you mean 'image'?"),
        (b'{"image": null}', 422, "has no picture"),
        (b'{"image": "no base64!"}', 422, "a text is not a picture unless it is base64"),
        (b'{"image": [[1, 2], [3]]}', 422, "has rows of different lengths"),
        (b'{"image": [[1, 2], [3, 4]]}', 422, "is 2x2, not 8x8"),
        (b'{"image": [[256]]}', 422, "outside 0..255"),
        (b'{"image": [[1e400]]}', 400, "is not JSON"),
        (b'{"image": {"a": 1}}', 422, "a dict is not a picture"),
        (b'{"instances": [[[1]], 7]}', 422, "row 0"),
        (b'{"image": "\xff"}', 400, "is not JSON"),
        (b'{"image": [[1]], "image": [[2]]}', 400, "the key 'image' is there twice (keys 1 and 2 of an object)"),
        (b'{"instances": [{"image": [[1]], "\\u0069mage": [[2]]}]}', 400, "the key 'image' is there twice"),
        (b'{"instances": [], "instances": [{"image": [[1]]}]}', 400, "the key 'instances' is there twice"),
        (b'{"image": "a\\":b:{"}', 422, "a text is not a picture unless it is base64"),
    ],
)
def test_bad_input_is_explained_in_json(client: TestClient, body: bytes, status: int, words: str) -> None:
    answer = client.post(PREDICT, content=body)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    error = answer.json()["error"]
    assert set(error) == {"what", "where", "fix", "mend", "message"}
    assert words in error["message"]


def test_a_bad_row_is_named_and_leaves_others_alone(client: TestClient, test_images: Array) -> None:
    good = test_images[0].tolist()
    answer = client.post(PREDICT, json={"instances": [{"image": good}, {"image": [[1]]}]})
    assert answer.status_code == 422
    assert answer.json()["error"]["where"] == "input, row 1"
    assert client.post(PREDICT, json={"image": good}).status_code == 200


def test_a_deep_body_whose_brackets_are_in_texts_is_not_deep(client: TestClient) -> None:
    answer = client.post(PREDICT, json={"image": "[" * 200 + '"' + "{" * 200})
    assert "base64" in answer.json()["error"]["message"]


def test_limits_hold(client_of: Callable[..., TestClient], test_images: Array) -> None:
    client = client_of(max_body_bytes=1000, max_request_rows=2)
    image = test_images[0].tolist()
    assert client.post(PREDICT, content=b" " * 1001).status_code == 413
    bomb = gzip.compress(b" " * 10_000_000)
    answer = client.post(PREDICT, content=bomb[:900], headers={"content-encoding": "gzip"})
    assert answer.status_code == 413
    assert client.post(PREDICT, content=b"\x1f\x8b", headers={"content-encoding": "gzip"}).status_code == 400
    assert client.post(PREDICT, content=b"x", headers={"content-encoding": "gzip"}).status_code == 400
    assert client.post(PREDICT, content=b"x", headers={"content-encoding": "br"}).status_code == 415
    answer = client.post(PREDICT, json={"instances": [image] * 3})
    assert answer.status_code == 413
    assert answer.json()["error"]["what"] == "holds 3 rows, more than 2"
    assert client.post(PREDICT, content=b"a=1", headers={"content-type": "text/csv"}).status_code == 415


def test_routes_say_what_there_is_and_what_there_is_not(client: TestClient, champion: ChampionVersion) -> None:
    line = {"task": "digits", "version": 1, "model_sha256": champion.model_sha256}
    assert client.get("/v1/tasks").json() == {"tasks": [line]}
    page = client.get("/v1/tasks/digits").json()
    assert page["classes"] == [str(n) for n in range(10)]
    assert page["schema"]["required"] == ["image"]
    assert page["metrics"]["model_sha256"] == champion.model_sha256
    missing = client.get("/v1/tasks/digit")
    assert missing.status_code == 404
    assert missing.json()["error"]["message"] == "path: no task 'digit' is served; did you mean 'digits'?"
    assert client.post("/v1/tasks/..%2f..%2fetc/predict", json={}).status_code == 404
    assert client.post("/v1/tasks/%2e%2e/predict", json={}).status_code == 404
    assert client.get("/nothing").json()["error"]["where"] == "path"
    refused = client.get(PREDICT)
    assert (refused.status_code, refused.headers["allow"]) == (405, "POST")
    assert client.put("/v1/tasks").status_code == 405
    for path in ("/healthz", "/readyz", "/v2/health/live", "/v2/health/ready"):
        assert client.get(path).status_code == 200


def test_each_task_is_described_and_the_page_loads_nothing_from_elsewhere(client: TestClient) -> None:
    api = client.get("/openapi.json").json()
    row = api["components"]["schemas"]["digits.Row"]
    assert row["properties"]["image"]["anyOf"][1]["maxItems"] == 8
    answer = api["components"]["schemas"]["digits.Prediction"]["properties"]
    assert {"prediction_id", "label", "probability_9"} <= set(answer)
    assert "multipart/form-data" in api["paths"][PREDICT]["post"]["requestBody"]["content"]
    page = client.get("/docs")
    assert "/web/docs.js" in page.text
    for file in ("/docs", "/web/docs.js", "/web/api.js", "/web/style.css"):
        assert not any(word in client.get(file).text for word in ("http://", "https://", "//cdn", "<img"))
    assert page.headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'; style-src 'self'")


def test_a_swapped_model_file_is_refused(
    client_of: Callable[..., TestClient], champion: ChampionVersion, tmp_path: Path
) -> None:
    folder = shutil.copytree(champion.folder, tmp_path / "version")
    model = folder / "artifacts/model.onnx"
    model.write_bytes(model.read_bytes() + b"\0")
    with pytest.raises(RegistryError, match=r"model\.onnx is missing or damaged"):
        client_of(replace(champion, folder=str(folder)))


def test_metrics_count_requests_rows_and_batches(client: TestClient, test_images: Array) -> None:
    image = test_images[0].tolist()
    client.post(PREDICT, json={"instances": [image] * 3})
    client.post(PREDICT, json={"image": [[1]]})
    text = client.get("/metrics").text
    assert 'flywheel_requests_total{route="predict",status="200",task="digits",version="1"} 1.0' in text
    assert 'flywheel_requests_total{route="predict",status="422",task="",version=""} 1.0' in text
    assert 'flywheel_batch_rows_sum{task="digits",version="1"} 4.0' in text
    assert 'flywheel_served_version{task="digits"} 1.0' in text
    assert 'flywheel_request_seconds_count{task="digits",version="1"} 1.0' in text
    assert "flywheel_worker_resident_bytes" in text

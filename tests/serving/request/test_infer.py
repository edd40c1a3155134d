from __future__ import annotations

import base64
import json
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

INFER = "/v2/models/digits/infer"
LENGTH = "inference-header-content-length"
Array = np.ndarray[Any, Any]


def tensor(**parts: Any) -> dict[str, Any]:
    return {"name": "image", "shape": [1, 8, 8], "datatype": "UINT8", **parts}


def binary(client: TestClient, request: dict[str, Any], content: bytes, **headers: str) -> Any:
    head = json.dumps(request).encode()
    return client.post(INFER, content=head + content, headers={LENGTH: str(len(head)), **headers})


def read(answer: Any) -> dict[str, Any]:
    """The outputs of a binary answer, by name."""
    length = int(answer.headers[LENGTH])
    place, found = length, {}
    for output in json.loads(answer.content[:length])["outputs"]:
        size = output["parameters"]["binary_data_size"]
        part, place = answer.content[place : place + size], place + size
        found[output["name"]] = np.frombuffer(part, "<f4") if output["datatype"] == "FP32" else _texts(part)
    assert place == len(answer.content)
    return found


def _texts(part: bytes) -> list[str]:
    found = []
    while part:
        (size,) = struct.unpack("<I", part[:4])
        found.append(part[4 : 4 + size].decode())
        part = part[4 + size :]
    return found


def test_the_server_and_its_models_are_described(client: TestClient) -> None:
    assert client.get("/v2").json()["extensions"] == ["binary_tensor_data"]
    model = client.get("/v2/models/digits").json()
    assert model["inputs"] == [{"name": "image", "datatype": "UINT8", "shape": [-1, 8, 8]}]
    assert {"name": "label", "datatype": "BYTES", "shape": [-1]} in model["outputs"]
    assert {"name": "probability_9", "datatype": "FP32", "shape": [-1]} in model["outputs"]
    assert client.get("/v2/models/digits/versions/1").json() == model
    assert client.get("/v2/models/digits/ready").json() == {"name": "digits", "ready": True}
    assert client.get("/v2/models/digits/versions/1/ready").json()["ready"]
    assert client.get("/v2/models/digits/versions/2/ready").status_code == 404
    assert client.get("/v2/models/digit").status_code == 404


def test_json_tensors_give_the_very_scores(client: TestClient, test_images: Array, test_scores: Array) -> None:
    shape = list(test_images.shape)
    for data in (test_images.reshape(-1).tolist(), test_images.tolist()):
        request = {"id": "mine", "inputs": [tensor(shape=shape, data=data)]}
        answer = client.post("/v2/models/digits/versions/1/infer", json=request).json()
        assert (answer["id"], answer["model_name"], answer["model_version"]) == ("mine", "digits", "1")
        outputs = {output["name"]: output for output in answer["outputs"]}
        scores = np.array([outputs[f"probability_{n}"]["data"] for n in range(10)]).T
        assert scores.tolist() == test_scores.astype(np.float64).tolist()
        assert len(set(outputs["prediction_id"]["data"])) == len(test_images)
        assert len(answer["parameters"]["model_sha256"]) == 64


def test_binary_tensors_give_the_very_scores(
    client: TestClient, test_images: Array, test_scores: Array, encode: Any
) -> None:
    parameters = {"binary_data_size": test_images.nbytes}
    request = {"inputs": [tensor(shape=list(test_images.shape), parameters=parameters)],
               "parameters": {"binary_data_output": True}}  # fmt: skip
    answer = binary(client, request, test_images.tobytes())
    assert answer.headers["content-type"] == "application/octet-stream"
    outputs = read(answer)
    assert np.array_equal(np.stack([outputs[f"probability_{n}"] for n in range(10)], axis=1), test_scores)
    assert outputs["label"] == [str(n) for n in test_scores.argmax(1)]
    pictures = [encode.png(image) for image in test_images[:3]]
    content = b"".join(struct.pack("<I", len(one)) + one for one in pictures)
    request = {"inputs": [tensor(datatype="BYTES", shape=[3], parameters={"binary_data_size": len(content)})],
               "outputs": [{"name": "label", "parameters": {"binary_data": True}}]}  # fmt: skip
    assert read(binary(client, request, content)) == {"label": outputs["label"][:3]}
    texts = [base64.b64encode(one).decode() for one in pictures]
    request = {"inputs": [tensor(datatype="BYTES", shape=[3], data=texts)], "outputs": [{"name": "label"}]}
    assert client.post(INFER, json=request).json()["outputs"][0]["data"] == outputs["label"][:3]


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ([], "has no list of tensors"),
        ([1], "has no list of tensors"),
        ([tensor(name="imag", data=[0] * 64)], "did you mean 'image'"),
        ([tensor(data=[0] * 63)], "holds 63 values, not 64"),
        ([tensor(shape=[], data=[])], "has no shape"),
        ([tensor(shape=[0, 8, 8], data=[])], "has no shape"),
        ([tensor(shape=[1, 8.0, 8], data=[0] * 64)], "has no shape"),
        ([tensor(shape=[True, 8, 8], data=[0] * 64)], "has no shape"),
        ([tensor(shape=[2**40, 8, 8], data=[0] * 64)], "has no shape"),
        ([tensor(datatype="FP8", data=[0] * 64)], "has datatype FP8"),
        ([tensor(data=[256] * 64)], "has data that are not uint8"),
        ([tensor(data=[0.5] * 64)], "has data that are not uint8"),
        ([tensor(data=["a"] * 64)], "has data that are not uint8"),
        ([tensor(data=[[0], 1])], "has data that are not uint8"),
        ([tensor()], "has no list of data"),
        ([tensor(datatype="BYTES", shape=[1], data=[1])], "has no list of texts"),
        ([tensor(parameters={"binary_data_size": 64})], "binary_data_size is not what is there"),
        ([tensor(data=[0] * 64), tensor(data=[0] * 64)], "is not an input, or comes twice"),
        ([tensor(shape=[1, 4, 16], data=[0] * 64)], "is 4x16, not 8x8"),
    ],
)
def test_bad_tensors_are_explained(client: TestClient, inputs: Any, words: str) -> None:
    answer = client.post(INFER, json={"inputs": inputs})
    assert answer.status_code in (400, 422)
    assert words in answer.json()["error"]  # a text, as the protocol has it


def test_every_error_under_v2_is_a_text_as_the_protocol_has_it(client_of: Callable[..., TestClient]) -> None:
    client = client_of()
    for answer in (
        client.get("/v2/nothing"),
        client.get("/v2/models/digit"),
        client.put("/v2"),
        client.get(INFER),
        client.post(INFER, content=b"{"),
        client.post("/v2/models/digit/infer", json={}),
        client.get("/v2", headers={"host": "evil.example"}),
        client_of(tokens={"web": "x"}).get("/v2"),
        client_of(rate_per_second=1e-9, rate_burst=1).get("/v2/models/digit"),
    ):
        assert 400 <= answer.status_code < 500
        assert set(answer.json()) == {"error"}
        assert isinstance(answer.json()["error"], str), answer.text
    api = client.get("/openapi.json").json()
    for path, operations in api["paths"].items():
        for operation in operations.values():
            content = operation["responses"]["4XX"]["content"]["application/json"]["schema"]
            assert content["$ref"].endswith("ProtocolError" if path.startswith("/v2") else "ErrorBody"), path


def test_bad_requests_are_explained(client: TestClient) -> None:
    good = {"inputs": [tensor(data=[0] * 64)]}
    assert client.post(INFER, json=good).status_code == 200
    assert client.post(INFER, json=[good]).status_code == 400
    assert client.post(INFER, json={**good, "id": 7}).status_code == 400
    assert client.post(INFER, json={**good, "outputs": [{"name": "labels"}]}).status_code == 400
    assert client.post(INFER, json={**good, "outputs": "label"}).status_code == 400
    for length in ("-1", "x", "99999999999999", "100000"):
        assert client.post(INFER, json=good, headers={LENGTH: length}).status_code == 400
    sized = {"inputs": [tensor(parameters={"binary_data_size": 64})]}
    assert binary(client, sized, bytes(64)).status_code == 200
    assert binary(client, sized, bytes(63)).status_code == 400
    assert "1 bytes belong to no tensor" in binary(client, sized, bytes(65)).text
    broken = {"inputs": [tensor(datatype="BYTES", shape=[1], parameters={"binary_data_size": 5})]}
    assert "ends in the middle" in binary(client, broken, b"\xff\0\0\0a").text
    assert client.post("/v2/models/digits/versions/2/infer", json=good).status_code == 404


def test_infer_is_limited(client_of: Callable[..., TestClient]) -> None:
    client = client_of(max_request_rows=1)
    answer = client.post(INFER, json={"inputs": [tensor(shape=[2, 8, 8], data=[0] * 128)]})
    assert answer.status_code == 413

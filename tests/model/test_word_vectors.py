"""Word vectors from both kinds of file, and the bag made of them."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from flywheel.model.initialise import initialise
from flywheel.model.network import build_network, load_network, save_network
from flywheel.project.digest import sha256_of
from flywheel.project.errors import ConfigError, ModelError
from flywheel.registry.onnx_export import export_onnx
from flywheel.registry.onnx_model import OnnxModel

VOCABULARY = ["", "[UNK]", "good", "Bad", "film", "Paris", "xyzzy"]
GLOVE = "the 9 9 9\nbad 1 0 1\ngood 1 2 3\nParis 4 4 4\nparis 5 5 5\nfilm 0 1 -1e0\ngood 7 7 7\n. . . 8 8 8\n"
META = {
    "inputs": {"tokens": {"dtype": "int32", "shape": [5], "padding": 0}},
    "vocabulary_size": 7,
    "vocabulary": VOCABULARY,
    "num_outputs": 2,
}
TOKENS = torch.tensor([[2, 4, 0, 0, 0], [3, 3, 5, 6, 1], [0, 0, 0, 0, 0]], dtype=torch.int32)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "home"))
    monkeypatch.delenv("FLYWHEEL_MIRROR", raising=False)


def as_source(path: Path, content: bytes) -> dict[str, str]:
    path.write_bytes(content)
    return {"uri": f"file:{path}", "sha256": sha256_of(path)}


def net_node(**changes: Any) -> dict[str, Any]:
    return {
        "_target_": "flywheel.model.word_vectors.WordVectors",
        "num_outputs": "meta.num_outputs",
        "vocabulary_size": "meta.vocabulary_size",
        "width": 3,
        **changes,
    }


def vectors_of(**changes: Any) -> torch.Tensor:
    network = build_network(net_node(**changes), META)
    initialise(network, "default")
    weight: torch.Tensor = network.net.words.weight  # type: ignore[union-attr,assignment]
    return weight.detach()


@pytest.mark.parametrize("form", ["glove", "word2vec", "gzip", "windows"])
def test_a_text_file_is_aligned_to_the_vocabulary(form: str, tmp_path: Path) -> None:
    content = {
        "glove": GLOVE.encode(),
        "word2vec": f"8 3\n{GLOVE}".encode(),
        "gzip": gzip.compress(GLOVE.encode()),
        "windows": GLOVE.replace("\n", "\r\n").encode(),
    }[form]
    found = vectors_of(pretrained=as_source(tmp_path / "vectors.txt", content), vocabulary="meta.vocabulary")
    wanted = {2: [1, 2, 3], 3: [1, 0, 1], 4: [0, 1, -1], 5: [4, 4, 4]}  # the first `good`; `Bad` as `bad`
    for number, vector in wanted.items():
        assert found[number].tolist() == vector
    average = np.mean(list(wanted.values()), axis=0)
    for number in (1, 6):  # unknown, and a word that the file lacks
        np.testing.assert_allclose(found[number].numpy(), average)
    assert found[0].tolist() == [0, 0, 0]


def test_a_matrix_of_a_safetensors_file_is_taken_row_by_row(tmp_path: Path) -> None:
    matrix = np.arange(21, dtype=np.float32).reshape(7, 3) + 1
    save_file({"embeddings.word_embeddings.weight": matrix}, tmp_path / "m")
    named = {"uri": f"file:{tmp_path / 'm'}", "sha256": sha256_of(tmp_path / "m")}
    found = vectors_of(pretrained={**named, "key": "embeddings.word_embeddings.weight"})
    assert found[1:].tolist() == matrix[1:].tolist()
    assert found[0].tolist() == [0, 0, 0]
    with pytest.raises(ModelError, match="cannot read 'other'"):
        vectors_of(pretrained={**named, "key": "other"})
    with pytest.raises(ModelError, match=r"has shape \[7, 3\], model.net needs \[7, 4\]"):
        vectors_of(pretrained={**named, "key": "embeddings.word_embeddings.weight"}, width=4)


@pytest.mark.parametrize(("content", "words"), [
    ("good 1 2\n", "line 1 does not hold a word and 3 numbers"),
    ("film 1 2 3\ngood 1 2 x\n", "the vector of 'good'"),
    ("gut 1 2 3\n", "none of the task's words"),
])  # fmt: skip
def test_a_file_that_does_not_fit_is_one_line(content: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=words) as raised:
        vectors_of(pretrained=as_source(tmp_path / "v", content.encode()), vocabulary="meta.vocabulary")
    assert "\n" not in str(raised.value)


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    named = as_source(tmp_path / "v", GLOVE.encode())
    with pytest.raises(ConfigError, match=r"needs vocabulary: meta\.vocabulary"):
        vectors_of(pretrained=named)
    with pytest.raises(ConfigError, match="needs uri and sha256"):
        vectors_of(pretrained={"uri": "file:v"})
    with pytest.raises(ConfigError, match="vocabulary has 1 tokens"):
        vectors_of(pretrained=named, vocabulary=["a"])


def test_the_bag_averages_over_tokens_alone(tmp_path: Path) -> None:
    named = as_source(tmp_path / "v", GLOVE.encode())
    network = build_network(net_node(pretrained=named, vocabulary="meta.vocabulary", hidden=4), META).eval()
    initialise(network, "kaiming")
    net: Any = network.net
    average = net.frozen_features(TOKENS)["average"]
    np.testing.assert_allclose(average[0].detach().numpy(), [0.5, 1.5, 1.0])
    assert average[2].tolist() == [0, 0, 0]
    torch.testing.assert_close(net(torch.nn.functional.pad(TOKENS, (0, 3))), net(TOKENS))
    torch.testing.assert_close(net.head(average=average), net(TOKENS))
    assert net.is_frozen
    assert not average.requires_grad


def test_vectors_that_are_not_frozen_learn_and_padding_stays_zero(tmp_path: Path) -> None:
    named = as_source(tmp_path / "v", GLOVE.encode())
    node = net_node(pretrained=named, vocabulary="meta.vocabulary", is_frozen=False, num_outputs=1)
    network = build_network(node, META)
    initialise(network, "default")
    net: Any = network.net
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    logits = net(TOKENS)
    assert logits.shape == (3,)
    logits.square().sum().backward()
    before = net.words.weight.detach().clone()
    optimizer.step()
    assert not torch.equal(net.words.weight[2], before[2])
    assert net.words.weight[0].tolist() == [0, 0, 0]


def test_a_trained_one_comes_back_without_its_file_and_exports(tmp_path: Path) -> None:
    named = as_source(tmp_path / "v", GLOVE.encode())
    node = net_node(pretrained=named, vocabulary="meta.vocabulary")
    network = build_network(node, META).eval()
    initialise(network, "default")
    link = {"_target_": "torch.nn.Softmax", "dim": -1}
    save_network(tmp_path, network, {"task": "t", "net": node, "link": link, "meta": META})
    (tmp_path / "v").unlink()
    loaded = load_network(tmp_path)
    wanted = loaded.predict({"tokens": TOKENS})
    torch.testing.assert_close(wanted, torch.softmax(network(tokens=TOKENS), -1))
    export_onnx(loaded, tmp_path / "model.onnx", opset=20)
    got = OnnxModel(tmp_path / "model.onnx").scores({"tokens": TOKENS.numpy()})
    np.testing.assert_allclose(got, wanted.numpy(), atol=1e-6)

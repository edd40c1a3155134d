"""The encoder against BERT's forward pass written out in numpy, and where its weights come from."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from flywheel.model.initialise import initialise
from flywheel.model.network import build_network, load_network, save_network
from flywheel.model.sentence_encoder import SentenceEncoder
from flywheel.project.digest import sha256_of
from flywheel.project.errors import ModelError, SourceError
from flywheel.registry.onnx_export import export_onnx
from flywheel.registry.onnx_model import OnnxModel

Array = np.ndarray[Any, Any]

VOCABULARY, WIDTH, HEADS, INNER, LAYERS, POSITIONS = 30, 8, 2, 20, 2, 12
TOKENS = np.array([[5, 9, 7, 2, 0, 0], [3, 3, 28, 11, 4, 6], [1, 0, 0, 0, 0, 0]], np.int32)
META = {
    "inputs": {"tokens": {"dtype": "int32", "shape": [6], "padding": 0}},
    "vocabulary_size": VOCABULARY,
    "sequence_length": 6,
    "num_outputs": 3,
}


def bert_weights() -> dict[str, Array]:
    """A random BERT under the names that Hugging Face's files have, pooler and buffer included."""
    generator = np.random.default_rng(0)

    def draw(*shape: int, around: float = 0.0) -> Array:
        return (around + generator.normal(size=shape) * 0.5).astype(np.float32)

    def linear(name: str, outputs: int, inputs: int) -> dict[str, Array]:
        return {f"{name}.weight": draw(outputs, inputs), f"{name}.bias": draw(outputs)}

    def norm(name: str) -> dict[str, Array]:
        return {f"{name}.weight": draw(WIDTH, around=1.0), f"{name}.bias": draw(WIDTH)}

    weights = {
        "embeddings.word_embeddings.weight": draw(VOCABULARY, WIDTH),
        "embeddings.position_embeddings.weight": draw(POSITIONS, WIDTH),
        "embeddings.token_type_embeddings.weight": draw(2, WIDTH),
        "embeddings.position_ids": np.arange(POSITIONS)[None],
        **norm("embeddings.LayerNorm"),
        **linear("pooler.dense", WIDTH, WIDTH),
    }
    for number in range(LAYERS):
        at = f"encoder.layer.{number}"
        for part in ("query", "key", "value"):
            weights |= linear(f"{at}.attention.self.{part}", WIDTH, WIDTH)
        weights |= linear(f"{at}.attention.output.dense", WIDTH, WIDTH) | norm(f"{at}.attention.output.LayerNorm")
        weights |= linear(f"{at}.intermediate.dense", INNER, WIDTH) | linear(f"{at}.output.dense", WIDTH, INNER)
        weights |= norm(f"{at}.output.LayerNorm")
    return weights


def numpy_embedding(weights: dict[str, Array], tokens: list[int]) -> Array:
    """One text without padding through BERT, a step at a time in float64; the mean of its vectors, of length one."""
    w = {name: weight.astype(np.float64) for name, weight in weights.items()}

    def linear(x: Array, name: str) -> Array:
        return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    def norm(x: Array, name: str) -> Array:
        centred = x - x.mean(-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-12)
        return scaled * w[f"{name}.weight"] + w[f"{name}.bias"]

    gelu = np.vectorize(lambda v: v * 0.5 * (1 + math.erf(v / math.sqrt(2))))
    x = w["embeddings.word_embeddings.weight"][tokens] + w["embeddings.position_embeddings.weight"][: len(tokens)]
    x = norm(x + w["embeddings.token_type_embeddings.weight"][0], "embeddings.LayerNorm")
    size = WIDTH // HEADS
    for number in range(LAYERS):
        at = f"encoder.layer.{number}"
        query, key, value = (linear(x, f"{at}.attention.self.{part}") for part in ("query", "key", "value"))
        heads = []
        for head in range(HEADS):
            part = slice(head * size, (head + 1) * size)
            raised = np.exp(query[:, part] @ key[:, part].T / math.sqrt(size))
            heads.append(raised / raised.sum(1, keepdims=True) @ value[:, part])
        attended = linear(np.concatenate(heads, 1), f"{at}.attention.output.dense")
        x = norm(x + attended, f"{at}.attention.output.LayerNorm")
        inner = gelu(linear(x, f"{at}.intermediate.dense"))
        x = norm(x + linear(inner, f"{at}.output.dense"), f"{at}.output.LayerNorm")
    mean = x.mean(0)
    return mean / np.linalg.norm(mean)


@pytest.fixture
def pretrained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The random BERT as a file of one's own, and a store for it."""
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "home"))
    monkeypatch.delenv("FLYWHEEL_MIRROR", raising=False)
    save_file(bert_weights(), tmp_path / "bert.safetensors")
    return {"uri": f"file:{tmp_path / 'bert.safetensors'}", "sha256": sha256_of(tmp_path / "bert.safetensors")}


def net_node(**changes: Any) -> dict[str, Any]:
    return {
        "_target_": "flywheel.model.sentence_encoder.SentenceEncoder",
        "num_outputs": "meta.num_outputs",
        "vocabulary_size": "meta.vocabulary_size",
        "sequence_length": "meta.sequence_length",
        "width": WIDTH,
        "num_layers": LAYERS,
        "num_heads": HEADS,
        "feed_forward": INNER,
        "max_positions": POSITIONS,
        **changes,
    }


def test_embeddings_are_those_of_bert_written_out(pretrained: dict[str, str]) -> None:
    network = build_network(net_node(pretrained=pretrained), META).eval()
    initialise(network, "default")
    got = network.net.embed(torch.from_numpy(TOKENS)).numpy()  # type: ignore[operator,union-attr]
    for row, tokens in enumerate(TOKENS):
        wanted = numpy_embedding(bert_weights(), [int(token) for token in tokens if token])
        np.testing.assert_allclose(got[row], wanted, atol=2e-6)


def test_padding_on_the_right_changes_nothing(pretrained: dict[str, str]) -> None:
    net = SentenceEncoder(3, VOCABULARY, 12, None, True, WIDTH, LAYERS, HEADS, feed_forward=INNER, max_positions=12)
    net.eval()
    tokens = torch.from_numpy(TOKENS)
    longer = torch.nn.functional.pad(tokens, (0, 6))
    torch.testing.assert_close(net(longer), net(tokens), atol=1e-6, rtol=0)
    torch.testing.assert_close(net(tokens[2:, :1]), net(tokens[2:]), atol=1e-6, rtol=0)
    assert net(torch.zeros(2, 4, dtype=torch.int32)).isfinite().all()


def test_many_rows_of_all_lengths_come_back_in_their_order(
    pretrained: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flywheel.model.sentence_encoder._CPU_TOKENS", 15)
    network = build_network(net_node(pretrained=pretrained), META).eval()
    initialise(network, "default")
    net: Any = network.net
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(1, VOCABULARY, (40, 6), generator=generator)
    tokens[torch.arange(6) >= torch.randint(0, 7, (40, 1), generator=generator)] = 0
    wanted = torch.cat([net.embed(row[None]) for row in tokens])
    torch.testing.assert_close(net.embed(tokens), wanted, atol=1e-6, rtol=0)
    assert net.embed(tokens[:0]).shape == (0, WIDTH)


def test_a_trained_network_comes_back_without_its_source(
    pretrained: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = net_node(pretrained=pretrained)
    network = build_network(node, META).eval()
    initialise(network, "xavier")
    link = {"_target_": "torch.nn.Softmax", "dim": -1}
    save_network(tmp_path, network, {"task": "t", "net": node, "link": link, "meta": META})
    (tmp_path / "bert.safetensors").unlink()
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "elsewhere"))  # another machine: nothing in the store either
    loaded = load_network(tmp_path)
    tokens = torch.from_numpy(TOKENS)
    torch.testing.assert_close(loaded.predict({"tokens": tokens}), torch.softmax(network(tokens=tokens), -1))
    with pytest.raises(SourceError, match=r"pretrained file bert\.safetensors: no source gave it"):
        initialise(build_network(node, META), "default")


def test_frozen_only_the_head_is_trained_and_features_need_computing_once(pretrained: dict[str, str]) -> None:
    node = net_node(pretrained=pretrained, hidden=5, encoder_dropout=0.9)
    network = build_network(node, META)
    initialise(network, "default")
    net: Any = network.train().net
    tokens = torch.from_numpy(TOKENS)
    assert net.is_frozen
    features = net.frozen_features(tokens)
    assert list(features) == ["embedding"]
    assert not features["embedding"].requires_grad
    assert torch.equal(net.frozen_features(tokens)["embedding"], features["embedding"])  # no dropout in the encoder
    net.head(**features).sum().backward()
    trained = {name for name, weight in net.named_parameters() if weight.grad is not None}
    assert trained == {name for name, _ in net.named_parameters() if name.startswith("classifier.")}
    net.eval()
    torch.testing.assert_close(net(tokens), net.head(**net.frozen_features(tokens)))


def test_fine_tuned_all_of_it_is_trained(pretrained: dict[str, str]) -> None:
    network = build_network(net_node(pretrained=pretrained, is_frozen=False), META)
    initialise(network, "default")
    net: Any = network.train().net
    assert not net.is_frozen
    net(torch.from_numpy(TOKENS)).square().sum().backward()
    untouched = [name for name, weight in net.named_parameters() if weight.grad is None]
    assert untouched == []


def test_one_output_is_one_number_a_row() -> None:
    net = SentenceEncoder(1, VOCABULARY, 6, width=WIDTH, num_layers=1, num_heads=HEADS)
    assert net(torch.from_numpy(TOKENS)).shape == (3,)


def test_what_does_not_fit_is_one_line(pretrained: dict[str, str], tmp_path: Path) -> None:
    for changes, words in (
        ({"vocabulary_size": 31}, r"'embeddings.word_embeddings.weight' has shape \[30, 8\], .* \[31, 8\]"),
        ({"num_layers": 3}, r"has no weights 'encoder\.layer\.2\."),
    ):
        network = build_network(net_node(pretrained=pretrained, **changes), META)
        with pytest.raises(ModelError, match=words) as raised:
            initialise(network, "default")
        assert "\n" not in str(raised.value)
    (tmp_path / "text").write_text("no weights")
    other = {"uri": f"file:{tmp_path / 'text'}", "sha256": sha256_of(tmp_path / "text")}
    with pytest.raises(ModelError, match="no safetensors"):
        initialise(build_network(net_node(pretrained=other), META), "default")


@pytest.mark.parametrize(("changes", "words"), [
    ({"sequence_length": 13}, "texts of 13 tokens, but the encoder has 12 positions"),
    ({"num_heads": 3}, "not a multiple of num_heads"),
    ({"pretrained": {"uri": "file:a"}}, "pretrained needs uri and sha256"),
])  # fmt: skip
def test_wrong_arguments_are_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(Exception, match=words):
        build_network(net_node(**changes), META)


def test_it_exports_to_onnx_with_any_number_of_rows(pretrained: dict[str, str], tmp_path: Path) -> None:
    node = net_node(pretrained=pretrained)
    network = build_network(node, META)
    initialise(network, "default")
    link = {"_target_": "torch.nn.Softmax", "dim": -1}
    save_network(tmp_path, network, {"task": "t", "net": node, "link": link, "meta": META})
    loaded = load_network(tmp_path)
    export_onnx(loaded, tmp_path / "model.onnx", opset=20)
    model = OnnxModel(tmp_path / "model.onnx")
    for rows in (1, 2, 3):
        wanted = loaded.predict({"tokens": torch.from_numpy(TOKENS[:rows])}).numpy()
        np.testing.assert_allclose(model.scores({"tokens": TOKENS[:rows]}), wanted, atol=1e-6)

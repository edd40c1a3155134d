"""What every model over tokens must hold to: padding changes nothing, and ONNX gives the same scores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from flywheel.model.network import LoadedNetwork, build_network
from flywheel.registry.onnx_export import export_onnx
from flywheel.registry.onnx_model import OnnxModel

LENGTH = 12
NETS: dict[str, tuple[str, dict[str, Any]]] = {
    "bag_of_embeddings": ("BagOfEmbeddings", {"word_dropout": 0.3, "dropout": 0.2}),
    "bag_without_hidden": ("BagOfEmbeddings", {"hidden": 0}),
    "text_cnn": ("TextCNN", {"filters": 8, "embedding": 6, "widths": [2, 3, 4]}),
    "lstm": ("LSTM", {"embedding": 6, "hidden": 5, "layers": 2, "dropout": 0.2}),
    "lstm_both_ways": ("LSTM", {"embedding": 6, "hidden": 5, "layers": 2, "bidirectional": True}),
    "lstm_max": ("LSTM", {"embedding": 6, "hidden": 5, "bidirectional": True, "pooling": "max"}),
    "ngram_linear": ("NgramLinear", {"buckets": 50, "ngrams": 3, "init_std": 1.0, "dropout": 0.2}),
    "tfidf_linear": ("TfidfLinear", {"buckets": 50, "ngrams": 3}),
    "ngram_width": ("NgramLinear", {"buckets": 50, "width": 4, "init_std": 1.0}),
}
# Padding is read here, and its embedding is learnt: as if every row had LENGTH places, however far a batch is cut.
PADDED: dict[str, tuple[str, dict[str, Any]]] = {
    "bag_padded": ("BagOfEmbeddings", {"padded_length": LENGTH}),
    "lstm_padded": ("LSTM", {"embedding": 6, "hidden": 5, "layers": 2, "padded_length": LENGTH}),
    "transformer_classifier": ("TransformerClassifier", {"sequence_length": LENGTH, "width": 8}),
}
MODULES = {
    "BagOfEmbeddings": "bag_of_embeddings",
    "TransformerClassifier": "transformer_classifier",
    "TextCNN": "text_cnn",
    "LSTM": "lstm",
    "NgramLinear": "ngram_linear",
    "TfidfLinear": "tfidf_linear",
}


def loaded(name: str, num_outputs: int = 3) -> LoadedNetwork:
    torch.manual_seed(0)
    kind, options = {**NETS, **PADDED}[name]
    meta = {
        "inputs": {"tokens": {"dtype": "int32", "shape": [LENGTH], "padding": 0}},
        "vocabulary_size": 40,
        "num_outputs": num_outputs,
    }
    node = {"_target_": f"flywheel.model.{MODULES[kind]}.{kind}", "vocabulary_size": "meta.vocabulary_size",
            "num_outputs": "meta.num_outputs", **options}  # fmt: skip
    network = build_network(node, meta).eval()
    return LoadedNetwork(network, nn.Softmax(dim=-1), meta, {"net": node}, "0" * 64)


def texts() -> Tensor:
    """Rows of 0 to 12 tokens, padded on the right."""
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randint(1, 40, (LENGTH + 1, LENGTH), dtype=torch.int32, generator=generator)
    return tokens.masked_fill(torch.arange(LENGTH) >= torch.arange(LENGTH + 1)[:, None], 0)


@pytest.mark.parametrize("name", [*NETS, *PADDED])
def test_padding_does_not_change_the_answer(name: str) -> None:
    network, tokens = loaded(name).network, texts()
    whole = network(tokens=tokens)
    assert whole.shape == (LENGTH + 1, 3)
    assert whole.isfinite().all()
    for length in range(1, LENGTH + 1):
        cut = network(tokens=tokens[length : length + 1, :length])
        torch.testing.assert_close(cut, whole[length : length + 1])
    longer = torch.cat([tokens, torch.zeros(len(tokens), 5, dtype=torch.int32)], dim=1)
    torch.testing.assert_close(network(tokens=longer), whole)


@pytest.mark.parametrize("name", NETS)
def test_one_output_is_one_number_a_row_and_every_weight_learns(name: str) -> None:
    network = loaded(name, num_outputs=1).network.train()
    scores = network(tokens=texts()[3:])
    assert scores.shape == (LENGTH - 2,)
    scores.sum().backward()
    for key, weight in network.named_parameters():
        assert weight.grad is not None, key
        assert weight.grad.abs().sum() > 0, key
    embedding = next(layer for layer in network.modules() if isinstance(layer, nn.Embedding))
    assert embedding.weight.grad is not None
    assert embedding.weight.grad[0].abs().sum() == 0, "padding learns nothing"


@pytest.mark.parametrize(
    "name", ["bag_of_embeddings", "text_cnn", "lstm_both_ways", "ngram_linear", "tfidf_linear", *PADDED]
)
def test_onnx_gives_the_same_scores(name: str, tmp_path: Path) -> None:
    model = loaded(name)
    export_onnx(model, tmp_path / "net.onnx", opset=20)
    tokens = texts()
    scores = OnnxModel(tmp_path / "net.onnx").scores({"tokens": tokens.numpy()})
    np.testing.assert_allclose(scores, model.predict({"tokens": tokens}).numpy(), atol=1e-6)

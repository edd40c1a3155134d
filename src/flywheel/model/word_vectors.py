"""A bag of pretrained word vectors: their average over a text, with a small head of one's own."""

from __future__ import annotations

import gzip
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from flywheel.project.errors import ModelError

log = logging.getLogger("flywheel")

PADDING_ID = 0
_GZIP = b"\x1f\x8b"


class WordVectors(nn.Module):
    """The mean of the vectors of a text's tokens, a layer norm, and a linear layer or two.

    The vectors are fetched by `load_pretrained`, which training calls once. They come in one of two forms:

    - a matrix in a safetensors file, named by `key`, whose rows are the ids of the task's tokeniser: the input
      embeddings of a pretrained model, with the tokeniser that belongs to it;
    - a text file with a word and its numbers a line (GloVe's, word2vec's and fastText's form, plain or gzip). The words
      are then matched with `vocabulary`, exactly or else in lower case; tokens that are not in the file get the average
      of those that are.

    Args:
        num_outputs: Logits of a row; with 1 the output is [B].
        vocabulary_size: Number of the tokeniser's ids.
        width: Length of a vector.
        pretrained: `uri` and `sha256` of the file, and `key` for a safetensors file; None: drawn vectors.
        vocabulary: The tokens by id (padding and unknown included, whatever their names), for a text file.
        is_frozen: Whether the vectors stay as they are.
        hidden: Width of the head's hidden layer (ReLU); 0: the head is linear.
        dropout: Probability of dropping a number before each layer of the head.

    Raises:
        ValueError: An argument is missing, or does not fit the others.
    """

    def __init__(
        self,
        num_outputs: int,
        vocabulary_size: int,
        width: int,
        pretrained: Mapping[str, str] | None = None,
        vocabulary: Sequence[str] | None = None,
        is_frozen: bool = True,
        hidden: int = 0,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        if pretrained is not None and set(pretrained) - {"key"} != {"uri", "sha256"}:
            raise ValueError("pretrained needs uri and sha256, and key for a safetensors file")
        if pretrained is not None and "key" not in pretrained and vocabulary is None:
            raise ValueError("a text file of word vectors needs vocabulary: meta.vocabulary")
        if vocabulary is not None and len(vocabulary) != vocabulary_size:
            raise ValueError(f"vocabulary has {len(vocabulary)} tokens, vocabulary_size is {vocabulary_size}")
        self.pretrained, self.vocabulary = pretrained, vocabulary
        self.is_frozen, self._num_outputs = is_frozen, num_outputs
        self.words = nn.Embedding(vocabulary_size, width, padding_idx=PADDING_ID)
        self.words.requires_grad_(not is_frozen)
        # Averages of pretrained vectors have any scale; the norm makes it that which linear layers are drawn for.
        layers: list[nn.Module] = [nn.LayerNorm(width), nn.Dropout(dropout)]
        if hidden:
            layers += [nn.Linear(width, hidden), nn.ReLU(), nn.Dropout(dropout)]
        self.classifier = nn.Sequential(*layers, nn.Linear(hidden or width, num_outputs))

    def load_pretrained(self) -> None:
        """Replace the vectors by the pretrained ones; does nothing where none are named.

        Raises:
            ConfigError: The URI or the sha256 cannot be right.
            ModelError: The file's vectors do not fit.
            SourceError: The file cannot be had.
        """
        if self.pretrained is None:
            return
        from flywheel.source.pretrained import pretrained_file

        uri = self.pretrained["uri"]
        path = pretrained_file(uri, self.pretrained["sha256"])
        if "key" in self.pretrained:
            found = _matrix(path, self.pretrained["key"], self.words.weight, uri)
        else:
            found = _aligned(path, self.vocabulary or (), self.words.embedding_dim, uri)
        found[PADDING_ID] = 0
        with torch.no_grad():
            self.words.weight.copy_(found)

    def frozen_features(self, tokens: Tensor) -> dict[str, Tensor]:
        """Give what the head takes: `average`, float32 [B, width]; zeros for a text without tokens."""
        if not torch.compiler.is_compiling():  # never lays out B x L vectors; ONNX has no such operator
            return {"average": F.embedding_bag(tokens, self.words.weight, mode="mean", padding_idx=PADDING_ID)}
        kept_BL1 = (tokens != PADDING_ID)[:, :, None].to(self.words.weight.dtype)
        return {"average": (self.words(tokens) * kept_BL1).sum(1) / kept_BL1.sum(1).clamp(min=1)}

    def head(self, average: Tensor) -> Tensor:
        """Map averages, [B, width], to logits, [B, num_outputs], or [B] for one output."""
        logits: Tensor = self.classifier(average)
        return logits.squeeze(1) if self._num_outputs == 1 else logits

    def forward(self, tokens: Tensor) -> Tensor:
        """Map token ids, int [B, L], filled with 0 on the right, to logits."""
        return self.head(**self.frozen_features(tokens))


def _matrix(path: Path, key: str, old: Tensor, uri: str) -> Tensor:
    """Read one matrix of a safetensors file.

    Raises:
        ModelError: It is not there, or has another shape.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            found: Tensor = file.get_tensor(key).float()
    except SafetensorError as error:
        raise ModelError(f"cannot read '{key}': {error}", where=uri, fix="fix model.net.pretrained.key") from None
    if found.shape != old.shape:
        what = f"'{key}' has shape {list(found.shape)}, model.net needs {list(old.shape)}"
        raise ModelError(what, where=uri, fix="set width to the file's, and use the tokeniser that belongs to it")
    return found


def _aligned(path: Path, vocabulary: Sequence[str], width: int, uri: str) -> Tensor:
    """Read a text file's vectors for the words of a vocabulary, float32 [len(vocabulary), width].

    Raises:
        ModelError: A line has another number of numbers, or no word of the vocabulary is there.
    """
    wanted = {word: number for number, word in enumerate(vocabulary) if word}
    exact: dict[int, list[float]] = {}
    lower: dict[int, list[float]] = {}
    in_lower: dict[str, list[int]] = {}
    for word, number in wanted.items():
        in_lower.setdefault(word.lower(), []).append(number)
    for word, numbers in _lines(path, width, uri):
        if word in wanted:
            exact.setdefault(wanted[word], _floats(numbers, word, uri))  # of a word that comes twice, the first counts
        for number in in_lower.get(word, ()):
            lower.setdefault(number, _floats(numbers, word, uri))
    rows = {**lower, **exact}
    if not rows:
        raise ModelError("has none of the task's words", where=uri, fix="use vectors of the texts' language and case")
    log.info("%s: vectors for %d of %d tokens", uri, len(rows), len(wanted))
    index = torch.tensor(sorted(rows))
    vectors = torch.tensor([rows[number] for number in sorted(rows)], dtype=torch.float32)
    aligned = vectors.mean(0).repeat(len(vocabulary), 1)
    aligned[index] = vectors
    return aligned


def _lines(path: Path, width: int, uri: str) -> Iterator[tuple[str, list[str]]]:
    """Part each line into its word, which may hold spaces, and its numbers; word2vec's first line is left out."""
    with path.open("rb") as start:
        opened = gzip.open if start.read(2) == _GZIP else open
    with opened(path, "rt", encoding="utf-8", errors="replace", newline="\n") as stream:
        for row, line in enumerate(stream):
            word, *numbers = line.rstrip().rsplit(" ", width)
            if row == 0 and len(line.split()) == 2:
                continue
            if len(numbers) != width or not word:
                what = f"line {row + 1} does not hold a word and {width} numbers"
                raise ModelError(what, where=uri, fix="set model.net.width to the file's")
            yield word, numbers


def _floats(numbers: list[str], word: str, uri: str) -> list[float]:
    try:
        return [float(number) for number in numbers]
    except ValueError as error:
        raise ModelError(f"the vector of '{word}': {error}", where=uri, fix="set width to the file's") from None

"""Transfer learning: a pretrained BERT encoder as sentence-transformers uses it, with a small head of one's own.

BERT: Devlin et al. 2019, arXiv:1810.04805. Sentence embeddings by mean pooling: Reimers & Gurevych 2019,
arXiv:1908.10084. MiniLM, whose weights conf/model/sentence_encoder.yaml names: Wang et al. 2020, arXiv:2002.10957.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from flywheel.project.errors import ModelError

PADDING_ID = 0
_LAYER_NORM_EPS = 1e-12  # BERT's; PyTorch's own default is 1e-5
_CPU_TOKENS, _GPU_TOKENS = 1024, 1 << 16  # at a time; on a CPU what a layer makes of them should stay in its caches


class SentenceEncoder(nn.Module):
    """Token ids to a unit vector for each text (the encoder), and from there to logits (the head).

    The weights are fetched by `load_pretrained`, which training calls once; a network that is rebuilt from its own
    `model.safetensors` has them there and fetches nothing. Frozen, `frozen_features` is all of the encoder, so that a
    training can compute it once for each text; else everything is trained.

    Args:
        num_outputs: Logits of a row; with 1 the output is [B].
        vocabulary_size: Ids of the tokeniser; it must be the one that the encoder was trained with.
        sequence_length: Columns of `tokens`, at most `max_positions`.
        pretrained: `uri` and `sha256` of the encoder's `model.safetensors`; None: drawn weights.
        is_frozen: Whether the encoder's weights stay as they are.
        width: Width of the encoder's vectors.
        num_layers: Number of the encoder's layers.
        num_heads: Heads of each layer's attention; a divisor of `width`.
        hidden: Width of the head's hidden layer (GELU); 0: the head is linear.
        dropout: Probability of dropping a number before each layer of the head.
        encoder_dropout: Dropout inside the encoder, when it is trained (BERT: 0.1).
        feed_forward: Width inside each layer's feed-forward part; None: four times `width`.
        max_positions: Rows of the encoder's position embeddings.

    Raises:
        ValueError: The sizes do not fit each other.
    """

    def __init__(
        self,
        num_outputs: int,
        vocabulary_size: int,
        sequence_length: int,
        pretrained: Mapping[str, str] | None = None,
        is_frozen: bool = True,
        width: int = 384,
        num_layers: int = 6,
        num_heads: int = 12,
        hidden: int = 0,
        dropout: float = 0.1,
        encoder_dropout: float = 0.1,
        feed_forward: int | None = None,
        max_positions: int = 512,
    ) -> None:
        super().__init__()
        if sequence_length > max_positions:
            raise ValueError(f"texts of {sequence_length} tokens, but the encoder has {max_positions} positions")
        if width % num_heads:
            raise ValueError(f"width {width} is not a multiple of num_heads {num_heads}")
        if pretrained is not None and set(pretrained) != {"uri", "sha256"}:
            raise ValueError("pretrained needs uri and sha256, and nothing else")
        self.pretrained, self.is_frozen, self._num_outputs = pretrained, is_frozen, num_outputs
        sizes = (width, num_heads, feed_forward or 4 * width, encoder_dropout)
        self.encoder = _Encoder(vocabulary_size, max_positions, num_layers, *sizes)
        self.encoder.requires_grad_(not is_frozen)
        layers: list[nn.Module] = [nn.Dropout(dropout)]
        if hidden:
            layers += [nn.Linear(width, hidden), nn.GELU(), nn.Dropout(dropout)]
        self.classifier = nn.Sequential(*layers, nn.Linear(hidden or width, num_outputs))

    def load_pretrained(self) -> None:
        """Replace the encoder's weights by the pretrained ones; does nothing where none are named.

        Raises:
            ConfigError: The URI or the sha256 cannot be right.
            ModelError: The file's weights do not fit this encoder.
            SourceError: The file cannot be had.
        """
        if self.pretrained is not None:
            from flywheel.source.pretrained import pretrained_file

            path = pretrained_file(self.pretrained["uri"], self.pretrained["sha256"])
            self.encoder.load_state_dict(_read_bert(path, self.encoder, self.pretrained["uri"]))

    def train(self, mode: bool = True) -> SentenceEncoder:
        """Set the mode; a frozen encoder never drops anything."""
        super().train(mode)
        self.encoder.train(mode and not self.is_frozen)
        return self

    def embed(self, tokens: Tensor) -> Tensor:
        """Map token ids, int [B, L], to unit vectors, float32 [B, width], as sentence-transformers' `encode` does.

        Outside training, rows of like length are taken together, few at a time, and come back in their order: the
        numbers are the same, the time is half, and memory does not grow with B.
        """
        if self.encoder.training or torch.compiler.is_compiling() or not len(tokens):
            return self._embed(tokens)
        order, pieces = _pieces(tokens)
        found = torch.cat([self._embed(piece) for piece in pieces])
        return torch.empty_like(found).index_copy(0, order, found)

    def _embed(self, tokens: Tensor) -> Tensor:
        return F.normalize(_masked_mean(self.encoder(tokens), tokens != PADDING_ID), dim=1)

    def frozen_features(self, tokens: Tensor) -> dict[str, Tensor]:
        """Give what the head takes: `embedding`, the unit vectors, float32 [B, width]."""
        return {"embedding": self.embed(tokens)}

    def head(self, embedding: Tensor) -> Tensor:
        """Map unit vectors, [B, width], to logits, [B, num_outputs], or [B] for one output."""
        # A unit vector's numbers are about 1/sqrt(width): brought to 1, which is what linear layers are drawn for.
        logits: Tensor = self.classifier(embedding * embedding.shape[1] ** 0.5)
        return logits.squeeze(1) if self._num_outputs == 1 else logits

    def forward(self, tokens: Tensor) -> Tensor:
        """Map token ids, int [B, L], filled with 0 on the right, to logits."""
        return self.head(**self.frozen_features(tokens))


class _Encoder(nn.Module):
    """BERT without its pooler."""

    def __init__(
        self, vocabulary_size: int, positions: int, num_layers: int, width: int, heads: int, inner: int, dropout: float
    ) -> None:
        super().__init__()
        self.words = nn.Embedding(vocabulary_size, width)
        self.positions = nn.Parameter(torch.zeros(positions, width))
        self.types = nn.Parameter(torch.zeros(2, width))  # of the first and the second text of a pair; here: the first
        nn.init.normal_(self.words.weight, std=0.02)
        self.norm = nn.LayerNorm(width, eps=_LAYER_NORM_EPS)
        self.dropout = nn.Dropout(dropout)
        self.layers = nn.ModuleList(_Layer(width, heads, inner, dropout) for _ in range(num_layers))

    def forward(self, tokens: Tensor) -> Tensor:
        """Map ids [B, L] to vectors [B, L, width]; those at padding mean nothing."""
        x_BLD: Tensor = self.words(tokens) + self.positions[: tokens.shape[1]] + self.types[0]
        x_BLD = self.dropout(self.norm(x_BLD))
        # Added to attention's logits: finite, so that a row that is all padding is no 0/0.
        lowest = torch.finfo(x_BLD.dtype).min
        mask_B11L = (tokens == PADDING_ID)[:, None, None, :].to(x_BLD.dtype) * lowest
        for layer in self.layers:
            x_BLD = layer(x_BLD, mask_B11L)
        return x_BLD


class _Layer(nn.Module):
    """Attention and feed-forward, each followed by a sum with its input and a norm (post-norm)."""

    def __init__(self, width: int, num_heads: int, inner: int, dropout: float) -> None:
        super().__init__()
        self.num_heads, self.drop = num_heads, dropout
        self.qkv = nn.Linear(width, 3 * width)  # query, key and value in one: a third of the calls
        self.out, self.attention_norm = nn.Linear(width, width), nn.LayerNorm(width, eps=_LAYER_NORM_EPS)
        self.up, self.down = nn.Linear(width, inner), nn.Linear(inner, width)
        self.norm = nn.LayerNorm(width, eps=_LAYER_NORM_EPS)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x_BLD: Tensor, mask_B11L: Tensor) -> Tensor:
        qkv = self.qkv(x_BLD).unflatten(2, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        drop = self.drop if self.training else 0.0
        seen_BHLd = F.scaled_dot_product_attention(qkv[0], qkv[1], qkv[2], attn_mask=mask_B11L, dropout_p=drop)
        seen_BLD = seen_BHLd.transpose(1, 2).flatten(2)
        x_BLD = self.attention_norm(x_BLD + self.dropout(self.out(seen_BLD)))
        normed: Tensor = self.norm(x_BLD + self.dropout(self.down(F.gelu(self.up(x_BLD)))))
        return normed


def _pieces(tokens: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Sort rows by length, the longest first, and split them into pieces of few tokens, without needless padding.

    Returns:
        The places, int64 [B], that the rows of the pieces, one after the other, have in `tokens`.
    """
    columns = torch.arange(1, tokens.shape[1] + 1, device=tokens.device)
    lengths = ((tokens != PADDING_ID) * columns).amax(1)
    order = lengths.argsort(descending=True, stable=True)
    budget = _CPU_TOKENS if tokens.device.type == "cpu" else _GPU_TOKENS
    sorted_lengths, pieces, start = lengths[order].tolist(), [], 0
    while start < len(order):
        longest = max(1, sorted_lengths[start])
        rows = order[start : start + max(1, budget // longest)]
        pieces.append(tokens[rows, :longest])
        start += len(rows)
    return order, pieces


def _masked_mean(x_BLD: Tensor, kept_BL: Tensor) -> Tensor:
    """Average over the positions that are kept; zeros where there are none."""
    kept_BL1 = kept_BL[:, :, None].to(x_BLD.dtype)
    return (x_BLD * kept_BL1).sum(1) / kept_BL1.sum(1).clamp(min=1)


def _read_bert(path: Path, encoder: nn.Module, uri: str) -> dict[str, Tensor]:
    """Read the weights of a BERT encoder under this module's names; heads that it has besides are left out.

    Raises:
        ModelError: One is missing, or has another shape.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        found = {name.removeprefix("bert."): weight for name, weight in load_file(path).items()}
    except SafetensorError as error:
        raise ModelError(f"no safetensors: {error}", where=uri, fix="name the encoder's model.safetensors") from None
    weights = {}
    for name, old in encoder.state_dict().items():
        parts = _bert_names(name)
        if missing := [part for part in parts if part not in found]:
            raise ModelError(f"has no weights '{missing[0]}'", where=uri, fix="name a BERT encoder, or fix its sizes")
        weights[name] = torch.cat([found[part] for part in parts]).float()
        if weights[name].shape != old.shape:
            what = f"'{parts[0]}' has shape {list(found[parts[0]].shape)}, the encoder of model.net {list(old.shape)}"
            fix = "set model.net's sizes to the file's, and use the tokeniser that belongs to it (its vocabulary_size)"
            raise ModelError(what, where=uri, fix=fix)
    return weights


_BERT_NAMES = {
    "words": "embeddings.word_embeddings",
    "positions": "embeddings.position_embeddings.weight",
    "types": "embeddings.token_type_embeddings.weight",
    "norm": "embeddings.LayerNorm",
}
_BERT_LAYER_NAMES = {
    "qkv": ("attention.self.query", "attention.self.key", "attention.self.value"),
    "out": ("attention.output.dense",),
    "attention_norm": ("attention.output.LayerNorm",),
    "up": ("intermediate.dense",),
    "down": ("output.dense",),
    "norm": ("output.LayerNorm",),
}


def _bert_names(name: str) -> list[str]:
    """Say which of BERT's tensors one of this module's is made of, joined along their first axis."""
    head, _, kind = name.rpartition(".")
    if not name.startswith("layers."):
        return [f"{_BERT_NAMES[head]}.{kind}" if head else _BERT_NAMES[kind]]
    _, number, part = head.split(".")
    return [f"encoder.layer.{number}.{bert}.{kind}" for bert in _BERT_LAYER_NAMES[part]]

"""Transfer learning for pictures: EfficientNet-Lite0 with pretrained weights, and a small head of one's own.

EfficientNet: Tan & Le 2019, arXiv:1905.11946. The Lite variant (Google 2020, tensorflow/tpu, efficientnet/lite) leaves
squeeze-and-excitation out and has ReLU6 in place of swish, so that it can be quantised; its stem and its last
convolution keep their width at every scale. Its blocks are those of MobileNetV2: Sandler et al. 2018, arXiv:1801.04381.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from flywheel.project.errors import ModelError

_STAGES = ((3, 1, 1, 16, 1), (3, 2, 6, 24, 2), (5, 2, 6, 40, 2), (3, 2, 6, 80, 3),
           (5, 1, 6, 112, 3), (5, 2, 6, 192, 4), (3, 1, 6, 320, 1))  # fmt: skip
"""Kernel, stride of the first block, expansion, channels, blocks: the paper's table 1."""
_STEM, FEATURES = 32, 1280
_PIXEL_MEAN, _PIXEL_STD = 127.0, 128.0  # what the weights were trained with, for levels of 0 to 255
_NORM_EPS = 1e-3  # TensorFlow's; PyTorch's own default is 1e-5
_CPU_ROWS, _GPU_ROWS = 16, 256  # at a time; the second stage makes 5 MB of a row


class EfficientNetLite0(nn.Module):
    """Pictures to 1,280 features (the backbone), and from there to logits (the head).

    The weights are fetched by `load_pretrained`, which training calls once; a network that is rebuilt from its own
    `model.safetensors` has them there and fetches nothing. Frozen, `frozen_features` is all of the backbone, so that a
    training can compute it once for each picture; else everything is trained, by batches' own statistics only where
    there are no pretrained ones.

    Pictures of any size, grey or in colour, however the preprocessor scales them: the network brings them to the
    size and the levels that its weights were trained with.

    Args:
        num_outputs: Logits of a row; with 1 the output is [B].
        inputs: `inputs` of `meta.json`: how its `image` is scaled.
        pretrained: `uri` and `sha256` of the weights as safetensors, and `pickle_sha256` where the URI names a pickle
            of them; None: drawn weights.
        is_frozen: Whether the backbone's weights stay as they are.
        resolution: Height and width that pictures are resized to, bilinear; the weights were trained with 224.
        hidden: Width of the head's hidden layer (ReLU); 0: the head is linear.
        dropout: Probability of dropping a number before each layer of the head.
        width: Multiplier of the channels between stem and last convolution.

    Raises:
        ValueError: There is no picture among the inputs, or an argument is not possible.
    """

    factor: Tensor
    shift: Tensor

    def __init__(
        self,
        num_outputs: int,
        inputs: Mapping[str, Any],
        pretrained: Mapping[str, str] | None = None,
        is_frozen: bool = True,
        resolution: int = 224,
        hidden: int = 0,
        dropout: float = 0.2,
        width: float = 1.0,
    ) -> None:
        super().__init__()
        if "mean" not in inputs.get("image", {}):
            raise ValueError(f"takes pictures, and the inputs are {', '.join(inputs)}")
        if pretrained is not None and set(pretrained) - {"pickle_sha256"} != {"uri", "sha256"}:
            raise ValueError("pretrained needs uri and sha256, and pickle_sha256 for a pickle")
        if resolution < 32 or width <= 0:
            raise ValueError("resolution of 32 pixels or more, and width above 0, are required")
        self.pretrained, self.is_frozen, self.resolution = pretrained, is_frozen, resolution
        self._num_outputs = num_outputs
        # Undoes the preprocessor's scaling and does that of the weights; one channel becomes three by broadcasting.
        mean, std = (torch.tensor(inputs["image"][key]).reshape(-1, 1, 1) for key in ("mean", "std"))
        self.register_buffer("factor", (std / _PIXEL_STD).expand(3, 1, 1).clone(), persistent=False)
        self.register_buffer("shift", ((mean - _PIXEL_MEAN) / _PIXEL_STD).expand(3, 1, 1).clone(), persistent=False)
        self.backbone = _Backbone(width)
        self.backbone.requires_grad_(not is_frozen)
        layers: list[nn.Module] = [nn.Dropout(dropout)]
        if hidden:
            layers += [nn.Linear(FEATURES, hidden), nn.ReLU(), nn.Dropout(dropout)]
        self.classifier = nn.Sequential(*layers, nn.Linear(hidden or FEATURES, num_outputs))
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # the stubs lack this form

    def load_pretrained(self) -> None:
        """Replace the backbone's weights by the pretrained ones; does nothing where none are named.

        Raises:
            ConfigError: The URI or a sha256 cannot be right.
            ModelError: The file's weights do not fit this backbone.
            SourceError: The file cannot be had.
        """
        if self.pretrained is not None:
            from flywheel.source.pretrained import pretrained_file

            path = pretrained_file(**self.pretrained)
            self.backbone.load_state_dict(_read_lite(path, self.backbone, self.pretrained["uri"]))

    def train(self, mode: bool = True) -> EfficientNetLite0:
        """Set the mode; pretrained statistics stay what they are, because those of few pictures are worse."""
        super().train(mode)
        self.backbone.train(mode and not self.is_frozen and self.pretrained is None)
        return self

    def frozen_features(self, image: Tensor) -> dict[str, Tensor]:
        """Give what the head takes: `features`, float32 [B, 1280].

        Outside training few rows are taken at a time, so that memory does not grow with B.
        """
        if self.training or torch.compiler.is_compiling():
            return {"features": self._features(image)}
        rows = _CPU_ROWS if image.device.type == "cpu" else _GPU_ROWS
        return {"features": torch.cat([self._features(piece) for piece in torch.split(image, rows)])}

    def _features(self, image: Tensor) -> Tensor:
        x_NCHW = image * self.factor + self.shift
        height, width = image.shape[2:]
        if (height, width) != (self.resolution, self.resolution):
            shrinks = max(height, width) > self.resolution
            size = (self.resolution, self.resolution)
            x_NCHW = F.interpolate(x_NCHW, size, mode="bilinear", align_corners=False, antialias=shrinks)
        features: Tensor = self.backbone(x_NCHW)
        return features

    def head(self, features: Tensor) -> Tensor:
        """Map features, [B, 1280], to logits, [B, num_outputs], or [B] for one output."""
        logits: Tensor = self.classifier(features)
        return logits.squeeze(1) if self._num_outputs == 1 else logits

    def forward(self, image: Tensor) -> Tensor:
        """Map pictures, scaled float32 [B, 1 or 3, H, W], to logits."""
        return self.head(**self.frozen_features(image))


class _Backbone(nn.Module):
    """EfficientNet-Lite0 without its classifier: pictures [B, 3, H, W] to features [B, 1280]."""

    def __init__(self, width: float) -> None:
        super().__init__()
        self.stem = _Convolution(3, _STEM, kernel=3, stride=2)
        blocks: list[nn.Module] = []
        channels = _STEM
        for kernel, stride, expansion, base, repeats in _STAGES:
            wider = _rounded(base * width)
            for number in range(repeats):
                blocks.append(_Block(channels, wider, kernel, stride if number == 0 else 1, expansion))
                channels = wider
        self.blocks = nn.ModuleList(blocks)
        self.last = _Convolution(channels, FEATURES, kernel=1)

    def forward(self, x_NCHW: Tensor) -> Tensor:
        x_NCHW = F.relu6(self.stem(x_NCHW))
        for block in self.blocks:
            x_NCHW = block(x_NCHW)
        features: Tensor = F.relu6(self.last(x_NCHW)).mean((2, 3))
        return features


class _Block(nn.Module):
    """MBConv: widen, look round each pixel in each channel, narrow, and add the input where the shapes allow it."""

    def __init__(self, channels: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = channels * expansion
        self.expand = _Convolution(channels, inner, kernel=1) if expansion > 1 else None
        self.depthwise = _Convolution(inner, inner, kernel, stride, groups=inner)
        self.project = _Convolution(inner, outputs, kernel=1)
        self.adds = stride == 1 and channels == outputs

    def forward(self, x_NCHW: Tensor) -> Tensor:
        inner = x_NCHW if self.expand is None else F.relu6(self.expand(x_NCHW))
        found: Tensor = self.project(F.relu6(self.depthwise(inner)))
        return x_NCHW + found if self.adds else found


class _Convolution(nn.Module):
    """A convolution with TensorFlow's padding (`SAME`: an odd pixel goes to the right) and batch norm."""

    def __init__(self, channels: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.kernel, self.stride = kernel, stride
        padding = kernel // 2 if stride == 1 else 0
        self.conv = nn.Conv2d(channels, outputs, kernel, stride, padding, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(outputs, eps=_NORM_EPS)

    def forward(self, x_NCHW: Tensor) -> Tensor:
        if self.stride > 1:
            down, across = (self._missing(size) for size in x_NCHW.shape[2:])
            x_NCHW = F.pad(x_NCHW, (across // 2, across - across // 2, down // 2, down - down // 2))
        normed: Tensor = self.norm(self.conv(x_NCHW))
        return normed

    def _missing(self, size: int) -> int:
        """Pixels that the last window lacks, the first window beginning at the first pixel."""
        return max((-(-size // self.stride) - 1) * self.stride + self.kernel - size, 0)


def _rounded(channels: float) -> int:
    """To a multiple of 8, and not below nine tenths, as all scales of EfficientNet are rounded."""
    nearest = max(8, int(channels + 4) // 8 * 8)
    return nearest + 8 if nearest < 0.9 * channels else nearest


_LITE_NAMES = {
    "stem": ("_conv_stem", "_bn0"),
    "expand": ("_expand_conv", "_bn0"),
    "depthwise": ("_depthwise_conv", "_bn1"),
    "project": ("_project_conv", "_bn2"),
    "last": ("_conv_head", "_bn1"),
}


def _lite_name(name: str) -> str:
    """Say what one of this backbone's tensors is called in the file: `blocks.3.expand.conv.weight`, for example."""
    *place, part, layer, kind = name.split(".")
    conv, norm = _LITE_NAMES[part]
    return ".".join([*(["_blocks", place[1]] if place else []), conv if layer == "conv" else norm, kind])


def _read_lite(path: Path, backbone: nn.Module, uri: str) -> dict[str, Tensor]:
    """Read a backbone's weights under this module's names; the file's own classifier is left out.

    Raises:
        ModelError: One is missing, or has another shape.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        found = load_file(path)
    except SafetensorError as error:
        fix = "name a file in safetensors, or give pretrained.pickle_sha256"
        raise ModelError(f"no safetensors: {error}", where=uri, fix=fix) from None
    weights = {}
    for name, old in backbone.state_dict().items():
        part = _lite_name(name)
        if part not in found:
            raise ModelError(f"has no weights '{part}'", where=uri, fix="name weights of EfficientNet-Lite0")
        weights[name] = found[part]
        if weights[name].shape != old.shape:
            what = f"'{part}' has shape {list(found[part].shape)}, the backbone of model.net {list(old.shape)}"
            raise ModelError(what, where=uri, fix="set model.net.width to the file's")
    return weights

"""Several nets in one: each reads the inputs of its own modality, and a head joins what they found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from flywheel.model.mlp import ACTIVATIONS
from flywheel.project.errors import ModelError


class Joint(nn.Module):
    """Late fusion: the outputs of all parts side by side, then a fully connected head.

    An input belongs to the part whose name it begins with: `title_tokens` is `tokens` to the net `title`, as
    `JointPreprocessor` names them. Concatenating what each modality's own net found, and training all of it at once,
    is the scheme of Ngiam et al. 2011 ("Multimodal Deep Learning", ICML).
    Args:
        parts: Any nets of this package, by name, each with `width` outputs.
        width: Outputs of every part, two or more.
        num_outputs: Outputs; 1 gives [B], else [B, num_outputs].
        hidden: Width of each hidden layer of the head.
        activation: relu, gelu, sigmoid or tanh; also applied to what the parts give.
        dropout: Probability of dropping a unit of what a layer of the head takes, in [0, 1).

    Raises:
        ValueError: There is no part, one is not a net, or `width` or the activation is not possible.
    """

    def __init__(
        self,
        parts: Mapping[str, nn.Module],
        width: int,
        num_outputs: int,
        hidden: Sequence[int] = (64,),
        activation: str = "relu",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if not parts:
            raise ValueError("parts are empty: name at least one net")
        for name, net in parts.items():
            if not isinstance(net, nn.Module):
                raise ValueError(f"part '{name}' is not a net but a {type(net).__name__}: name its _target_")
        if width < 2:
            raise ValueError(f"width {width} is too narrow: two or more are needed")
        if activation not in ACTIVATIONS:
            raise ValueError(f"activation '{activation}' is not one of {', '.join(ACTIVATIONS)}")
        # Sorted, because model.json keeps no order; and no ModuleDict, which refuses names such as `items`.
        self.names, self.width = sorted(parts), width
        self.parts = nn.ModuleList(parts[name] for name in self.names)
        layers: list[nn.Module] = []
        for before, after in pairwise([width * len(parts), *hidden, num_outputs]):
            layers += [ACTIVATIONS[activation](), nn.Dropout(dropout), nn.Linear(before, after)]
        flat = [nn.Flatten(0)] if num_outputs == 1 else []  # one number a row: [B], not [B, 1]
        self.head = nn.Sequential(*layers, *flat)

    def forward(self, **inputs: Tensor) -> Tensor:
        """Map every part's inputs, `<part>_<input>`, each [B, ...], to [B, num_outputs], or [B] for one output.

        Raises:
            ModelError: A part has no inputs, or not `width` outputs.
        """
        found = [self._features(name, net, inputs) for name, net in zip(self.names, self.parts, strict=True)]
        logits: Tensor = self.head(torch.cat(found, dim=1))
        return logits

    def _features(self, name: str, net: nn.Module, inputs: Mapping[str, Tensor]) -> Tensor:
        prefix = f"{name}_"
        own = {key.removeprefix(prefix): x for key, x in inputs.items() if key.startswith(prefix)}
        if not own:
            fix = f"name it like a part of preprocess.inputs; there are the inputs {', '.join(inputs)}"
            raise ModelError("has no inputs", where=f"model.net.parts.{name}", fix=fix)
        x_BW: Tensor = net(**own)
        if x_BW.ndim != 2 or x_BW.shape[1] != self.width:
            what = f"gives {list(x_BW.shape[1:])} outputs a row, not [{self.width}]"
            raise ModelError(what, where=f"model.net.parts.{name}", fix="set its num_outputs to the joint net's width")
        return x_BW

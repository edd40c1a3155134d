"""A net with its input scaling, and how both are stored: safetensors and JSON, no pickle."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from flywheel.project.digest import sha256_of
from flywheel.project.errors import ConfigError, ModelError
from flywheel.project.instantiate import build
from flywheel.project.kind import LINK, NET
from flywheel.project.types import Json

FORMAT = 1
WEIGHTS, DESCRIPTION, HISTORY = "model.safetensors", "model.json", "history.csv"


class Network(nn.Module):
    """A net that takes inputs as they are stored (pictures as uint8) and scales them itself.

    The scaling is part of the graph, so training, ONNX and server cannot differ in it. Its constants were fitted on
    train by the preprocessor and stand in `meta.json` (`inputs.<name>.mean` and `.std`, per channel, in stored units).

    Args:
        net: Maps scaled inputs, by name, to logits; one with `takes_stored` gets them as they are.
        inputs: `meta.json`'s `inputs`.
    """

    def __init__(self, net: nn.Module, inputs: Mapping[str, Json]) -> None:
        super().__init__()
        self.net = net
        self.input_names = list(inputs)
        self._scaled: list[str] = []
        for name, spec in inputs.items():
            if "mean" not in spec or getattr(net, "takes_stored", False):
                continue
            factor = 1.0 / torch.tensor(spec["std"], dtype=torch.float32)
            shift = -torch.tensor(spec["mean"], dtype=torch.float32) * factor
            # A list has one constant for each place of the first axis; nested lists are shaped as they are to be used.
            shape = [-1] + [1] * (len(spec["shape"]) - 1) if factor.ndim < 2 else list(factor.shape)
            self.register_buffer(f"{name}_factor", factor.reshape(shape))
            self.register_buffer(f"{name}_shift", shift.reshape(shape))
            self._scaled.append(name)

    def scale(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Bring stored inputs to what the net takes; those without constants pass as they are."""
        scaled = dict(inputs)
        for name in self._scaled:
            factor, shift = getattr(self, f"{name}_factor"), getattr(self, f"{name}_shift")
            stored, dtype = inputs[name], factor.dtype
            # In place where the conversion has made a copy anyway: a third of addcmul's time on a CPU.
            product = stored * factor if stored.dtype == dtype else stored.to(dtype).mul_(factor)
            scaled[name] = product.add_(shift)
        return scaled

    def forward(self, **inputs: Tensor) -> Tensor:
        """Map stored inputs, each [B, ...], to logits."""
        logits: Tensor = self.net(**self.scale(inputs))
        return logits


@dataclass(frozen=True)
class LoadedNetwork:
    """A trained network, ready to predict.

    Attributes:
        network: The network, in eval mode.
        link: Turns logits into what a user sees (softmax for classes).
        meta: The `meta.json` that the network was trained with.
        description: The contents of `model.json`.
        model_sha256: The sha256 of `model.safetensors`, the join key of runs, versions and predictions.
    """

    network: Network
    link: nn.Module
    meta: Json
    description: Json
    model_sha256: str

    @torch.inference_mode()
    def predict(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Map stored inputs, each [B, ...], to scores (for classes: probabilities, float32 [B, num_classes])."""
        scores: Tensor = self.link(self.network(**inputs))
        return scores


def build_network(
    net_node: Mapping[str, Any], meta: Json, *, where: str = "model.net", stored: bool = False
) -> Network:
    """Make an untrained network for data described by `meta`.

    Raises:
        ConfigError: The node's target or arguments are wrong, or the net is one for other kinds of inputs.
    """
    try:
        net = build(net_node, NET, where=where, meta=meta, stored=stored)
    except ConfigError as error:
        lacking = re.fullmatch(r"meta\.json has no '(\w+)'", error.what)
        if not lacking or "did you mean" in str(error.fix):
            raise
        raise _misfit(net_node, meta, f"needs '{lacking[1]}'", where) from None
    takes = inspect.signature(net.forward).parameters.values()
    if not any(one.kind is one.VAR_KEYWORD for one in takes):
        lacking_inputs = [one.name for one in takes if one.default is one.empty and one.name not in meta["inputs"]]
        if lacking_inputs or set(meta["inputs"]) - {one.name for one in takes}:
            raise _misfit(net_node, meta, "takes " + " and ".join(f"'{one.name}'" for one in takes), where)
    return Network(net, meta["inputs"])


def _misfit(net_node: Mapping[str, Any], meta: Json, takes: str, where: str) -> ConfigError:
    """The error of a net that gets inputs of another kind, such as pictures instead of texts."""
    given = " and ".join(f"'{name}' ({' x '.join(map(str, spec['shape']))})" for name, spec in meta["inputs"].items())
    what = f"{net_node['_target_']} {takes}, and the data of this task are {given}"
    return ConfigError(what, where=where, fix="choose a model for such data; conf/task/ shows which is used for what")


def save_network(folder: Path, network: Network, description: Json, weights: Mapping[str, Tensor] | None = None) -> str:
    """Write `model.safetensors` and `model.json`.

    Args:
        folder: An existing folder.
        network: The trained network.
        description: `task`, `net`, `link`, `meta` and whatever else a reader of the model should know.
        weights: State to write; None: the network's own.

    Returns:
        The sha256 of `model.safetensors`.
    """
    state = network.state_dict() if weights is None else weights
    save_file({key: value.detach().cpu().contiguous() for key, value in state.items()}, folder / WEIGHTS)
    num_parameters = sum(p.numel() for p in network.parameters())
    whole = {"format": FORMAT, "num_parameters": num_parameters, **description}
    (folder / DESCRIPTION).write_text(json.dumps(whole, indent=1, sort_keys=True) + "\n")
    return sha256_of(folder / WEIGHTS)


def load_network(folder: Path) -> LoadedNetwork:
    """Rebuild a trained network from its folder, on the CPU, in eval mode.

    Raises:
        ModelError: A file is missing or damaged, or the weights do not fit the description.
        ConfigError: The description names a class that may not stand there.
    """
    try:
        description: Json = json.loads((folder / DESCRIPTION).read_text())
        weights = load_file(folder / WEIGHTS)
    except FileNotFoundError as error:
        raise ModelError("no trained model", where=error.filename, fix="run `dvc repro` to train it") from None
    except (ValueError, RecursionError, SafetensorError) as error:
        raise ModelError(f"damaged: {error}", where=folder, fix="run `dvc checkout`, or train again") from None
    if not isinstance(description, dict) or description.get("format") != FORMAT:
        given = description.get("format") if isinstance(description, dict) else None
        raise ModelError(f"format {given!r}, not {FORMAT}", where=folder / DESCRIPTION, fix="train again")
    try:
        meta = description["meta"]
        network = build_network(description["net"], meta, where=f"{DESCRIPTION}: net", stored=True)
        link: nn.Module = build(description["link"], LINK, where=f"{DESCRIPTION}: link", meta=meta, stored=True)
    except (AttributeError, LookupError, TypeError, ValueError, RuntimeError) as error:
        why = f"does not describe a network: {_reason(error)}"
        raise ModelError(why, where=folder / DESCRIPTION, fix="run `dvc checkout`, or train again") from None
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        raise ModelError(f"weights do not fit: {_reason(error)}", where=folder, fix="train again") from None
    return LoadedNetwork(network.eval(), link.eval(), meta, description, sha256_of(folder / WEIGHTS))


def _reason(error: Exception) -> str:
    """What an error says, in one line; `load_state_dict` says it in the second."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [""]
    text = lines[1] if len(lines) > 1 and isinstance(error, RuntimeError) else lines[0]
    return f"{error!r}" if isinstance(error, LookupError) or not text else text

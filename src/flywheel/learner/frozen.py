"""A net with a frozen part: that part runs once over the data, and training sees its features alone.

Such a net has `is_frozen`, `frozen_features(**inputs) -> dict of tensors` and `head(**features) -> logits`; its
`forward` is the one after the other. The features are kept in `.flywheel/cache/features/`, by the frozen weights and
the data: the jobs of a sweep over the head compute them once.
"""

from __future__ import annotations

import hashlib
import logging
import sys
from typing import Any

import numpy as np
import torch
from safetensors.numpy import load_file, save_file
from tqdm import tqdm

from flywheel.learner.blocks import Blocks
from flywheel.learner.data import WEIGHT, Part
from flywheel.model.network import Network
from flywheel.project.digest import sha256_of_code, sha256_of_json
from flywheel.project.params import project_root, state_dir
from flywheel.project.types import Json
from flywheel.project.whole import whole_file

log = logging.getLogger("flywheel")

BATCH_ROWS = 64


def is_frozen(network: Network) -> bool:
    """Whether the net has a part that is not trained and can be run beforehand."""
    return bool(getattr(network.net, "is_frozen", False))


def frozen_part(network: Network, part: Part, data_sha256: str, device: torch.device) -> Part:
    """Give the part with the frozen features in place of its inputs, in memory.

    Args:
        network: A network with a frozen part.
        part: One split, with the measured lengths of its rows.
        data_sha256: The sha256 of the split's file; together with the frozen weights it is the key of the cached
            features.
        device: Device to compute on.
    """
    file = state_dir() / "cache" / "features" / f"{_key(network, data_sha256)}.safetensors"
    if not file.is_file():
        with whole_file(file) as half:
            save_file(_features(network, part, device), half)
    arrays = {name: torch.from_numpy(array) for name, array in load_file(file).items()}
    if (weight := part.weight) is not None:
        arrays[WEIGHT] = weight
    return Part(arrays).to(device)


@torch.inference_mode()
def _features(network: Network, part: Part, device: torch.device) -> dict[str, np.ndarray[Any, Any]]:
    """Run the frozen part over rows of about one length at a time, and bring the features into the rows' order."""
    log.info("running the frozen part of the net over %s rows, once", f"{part.num_rows:,}")
    blocks = Blocks(part, BATCH_ROWS, 1)
    order = blocks.order().numpy()
    net = network.net.to(device).eval()
    found: dict[str, list[np.ndarray[Any, Any]]] = {}
    for block in tqdm(blocks, desc="features", unit=" batches", leave=False, disable=not sys.stderr.isatty()):
        for inputs, target in block.to(device).batches():
            features = net.frozen_features(**network.scale(inputs))  # type: ignore[operator]
            for name, values in {**features, "target": target}.items():
                found.setdefault(name, []).append(values.cpu().numpy())
    network.train()
    ordered = {}
    for name, pieces in found.items():
        values = np.concatenate(pieces)
        ordered[name] = np.empty_like(values)
        ordered[name][order] = values
    return ordered


def _key(network: Network, data_sha256: str) -> str:
    digest = hashlib.sha256()
    frozen = {name: p for name, p in network.named_parameters() if not p.requires_grad}
    for name, value in sorted({**frozen, **dict(network.named_buffers())}.items()):
        digest.update(name.encode() + value.detach().cpu().contiguous().numpy().tobytes())
    # Settings without weights (heads, an epsilon) and the code decide too; those of the trained head do not.
    settings = [
        [name, sorted((k, v) for k, v in vars(module).items() if isinstance(v, int | float | str) and k != "training")]
        for name, module in network.named_modules()
        if (own := list(module.parameters())) and not any(p.requires_grad for p in own)
    ]
    code = sha256_of_code(project_root(), ["src/flywheel/model"])
    facts: Json = {"weights": digest.hexdigest(), "data": data_sha256, "settings": settings, "code": code}
    return sha256_of_json(facts)[:32]

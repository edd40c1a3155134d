"""Nested settings as dotted keys, as MLflow keeps them and messages name them, and the targets that they name."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

_SETTING = re.compile(r"\w{1,60}")


def flatten(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Turn nested mappings into dotted keys; a `_target_` becomes its node's own key (`optimizer: torch.optim.Adam`).

    Lists stay whole: they read better as one value than as ten. So do mappings with keys that are not settings' names,
    such as names of columns: a dot in one would part it, and MLflow takes few other marks in a key.
    """
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        name = prefix if key == "_target_" else f"{prefix}.{key}" if prefix else str(key)
        if isinstance(value, Mapping) and value and all(_SETTING.fullmatch(str(one)) for one in value):
            flat.update(flatten(value, name))
        else:
            flat[name] = value
    return flat


def targets_in(node: Any) -> Iterator[str]:
    """Give the `_target_` of a node, of plain data, and of all nodes that are in it."""
    if isinstance(node, Mapping):
        if isinstance(node.get("_target_"), str):
            yield node["_target_"]
        node = list(node.values())
    if isinstance(node, list):
        for inner in node:
            yield from targets_in(inner)


def as_text(value: Any) -> str:
    """A value as one text; a mapping as JSON, so that its keys come back whatever they hold."""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, Mapping) and value else str(value)

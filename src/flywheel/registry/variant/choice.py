"""Which variant a task serves: `export.serve`."""

from __future__ import annotations

import re
from collections.abc import Callable

from flywheel.project.config import ExportConfig
from flywheel.project.errors import ConfigError, nearest
from flywheel.project.types import Json

FP32, SMALLEST, FASTEST = "fp32", "smallest", "fastest"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")  # it becomes a file name and a tag
_RESERVED = (FP32, SMALLEST, FASTEST)


def check(settings: ExportConfig) -> None:
    """Refuse invalid settings before any work.

    Raises:
        ConfigError: A variant's name or source, or what is served, is none that can be.
    """
    before = [FP32]
    for name, variant in settings.variants.items():
        where = f"export.variants.{name}"
        if name in _RESERVED or not _NAME.fullmatch(name):
            raise ConfigError(f"'{name}' cannot name a variant", where=where, fix="use letters, digits, _ and -")
        if variant.of not in before:
            fix = f"name fp32 or a variant above it; {nearest(variant.of, before)}"
            raise ConfigError(f"no variant '{variant.of}' to make it from", where=f"{where}.of", fix=fix)
        before.append(name)
    known = (*_RESERVED, *settings.variants)
    if settings.serve not in known:
        raise ConfigError(f"no variant '{settings.serve}'", where="export.serve", fix=nearest(settings.serve, known))


def passing(parity: Json) -> list[str]:
    """The names of what may be served, fp32 first.

    Args:
        parity: The content of `parity.json`.
    """
    return [FP32, *(name for name, entry in parity.get("variants", {}).items() if entry["passed"])]


def served(parity: Json, serve: str, latency_ms: Callable[[str], float]) -> str:
    """What the task serves.

    Args:
        parity: The content of `parity.json`.
        serve: `export.serve`. A variant that did not pass is not served, fp32 is.
        latency_ms: A variant's median of one request on this machine; asked for `fastest` only.
    """
    known = passing(parity)
    if serve == SMALLEST:
        return min(known, key=lambda name: entry_of(parity, name)["num_bytes"])
    if serve == FASTEST:
        return min(known, key=latency_ms)
    return serve if serve in known else FP32


def judged(parity: Json, serve: str, sign: int) -> str:
    """Whose scores the gate judges by.

    What is fastest differs between machines and moments, and the gate's decision must not: with `fastest` it judges the
    weakest of those that may be served, so that its verdict holds for whichever it will be.

    Args:
        parity: The content of `parity.json`.
        serve: The setting `export.serve`.
        sign: 1 where more of the metric is better, else -1.
    """
    if serve != FASTEST or "metric" not in parity:
        return served(parity, serve, lambda name: 0.0)
    metric = parity["metric"]
    return min(passing(parity), key=lambda name: sign * (entry_of(parity, name)[metric] or 0.0))


def entry_of(parity: Json, name: str) -> Json:
    """What `parity.json` says of fp32 or of a variant."""
    entry: Json = parity[FP32] if name == FP32 else parity["variants"][name]
    return entry


def scores_file(name: str) -> str:
    """The name of the file with a variant's scores, in the export folder."""
    return "scores.safetensors" if name == FP32 else f"{name}.scores.safetensors"

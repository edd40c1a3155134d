"""The reference: what a version's training data, and its answers to them, looked like.

A version's evidence holds it as `reference.safetensors`, so that a monitor on another machine needs no training data.
It holds no row: only quantiles and counts of traits, 60 kB for thirty traits.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from flywheel.monitor.distribution import CategoryDistribution, Distribution, NumberDistribution, distribution_of
from flywheel.monitor.trait.base import Traits
from flywheel.project.errors import DataError
from flywheel.project.types import Json

FORMAT = 1
FILE = "reference.safetensors"
"""Its name among a version's evidence."""
FAMILIES = ("inputs", "answers")


@dataclass(frozen=True)
class Reference:
    """What traffic is compared with.

    Attributes:
        inputs: The distribution of each trait of rows.
        answers: The same of the version's answers to rows it was not trained on.
        model_sha256: The sha256 of the version's weights.
    """

    inputs: dict[str, Distribution]
    answers: dict[str, Distribution]
    model_sha256: str

    @classmethod
    def of(cls, inputs: Traits, answers: Traits, model_sha256: str) -> Reference:
        """Summarise traits, of at least one row each."""
        rows, told = ({name: distribution_of(values) for name, values in part.items()} for part in (inputs, answers))
        return cls(rows, told, model_sha256)

    def save(self, file: Path) -> None:
        """Write it; equal references give equal bytes."""
        header: Json = {"format": FORMAT, "model_sha256": self.model_sha256}
        arrays: dict[str, Any] = {}
        for family in FAMILIES:
            distributions: dict[str, Distribution] = getattr(self, family)
            header[family] = [{"name": name, **one.to_json()} for name, one in distributions.items()]
            for place, one in enumerate(distributions.values()):
                if isinstance(one, NumberDistribution):
                    arrays[f"{family}.{place}"] = one.quantiles
        save_file(arrays or {"none": np.zeros(1, np.float32)}, file, metadata={"reference": json.dumps(header)})

    @classmethod
    def load(cls, file: Path) -> Reference:
        """Read what `save` wrote.

        Raises:
            DataError: The file is missing, damaged, or of another format.
        """
        try:
            with safe_open(file, framework="numpy") as stored:
                header = json.loads((stored.metadata() or {})["reference"])
                if header["format"] != FORMAT:
                    raise ValueError(f"format {header['format']}, this version reads {FORMAT}")
                found = {
                    family: {
                        item["name"]: _distribution(item, stored, f"{family}.{place}")
                        for place, item in enumerate(header[family])
                    }
                    for family in FAMILIES
                }
                return cls(found["inputs"], found["answers"], header["model_sha256"])
        except FileNotFoundError:
            raise DataError(file, None, "missing", fix="run `dvc repro`") from None
        except (SafetensorError, ValueError, KeyError, TypeError) as error:
            raise DataError(file, None, f"is not a reference: {error}", fix="restore it, or remove it") from None


def _distribution(item: Json, stored: Any, key: str) -> Distribution:
    if item["kind"] == CategoryDistribution.kind:
        return CategoryDistribution(dict(item["counts"]), int(item["num_rows"]))
    return NumberDistribution(np.asarray(stored.get_tensor(key), np.float32), int(item["num_rows"]))

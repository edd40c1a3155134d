"""An exported model: an ONNX file with stored inputs in and scores out, run by ONNX Runtime."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from flywheel.project.errors import ModelError

OUTPUT = "scores"
BATCH_ROWS = 256
ROWS_ALONE = "flywheel.rows_alone"
"""Key of a file's metadata: its scores depend on the other rows of a batch, so each row is run by itself."""

Array = np.ndarray[Any, Any]


class OnnxModel:
    """Maps inputs, as the preprocessor makes them, to scores. Needs no PyTorch.

    Args:
        file: The ONNX file.
        threads: Number of threads of one call; 0: as many as this process may use.

    Raises:
        ModelError: The file is missing, damaged, or no model that ONNX Runtime can run.
    """

    def __init__(self, file: Path, *, threads: int = 0) -> None:
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.intra_op_num_threads = threads or available_threads()
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            self._session = ort.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
        except runtime_errors() as error:
            why = str(error).splitlines()[0]
            raise ModelError(f"not an ONNX model that can run: {why}", where=file, fix="export it again") from None
        self.file = file
        self.input_names = [item.name for item in self._session.get_inputs()]
        self._alone = ROWS_ALONE in self._session.get_modelmeta().custom_metadata_map

    def scores(self, inputs: Mapping[str, Array], *, batch_rows: int = BATCH_ROWS) -> Array:
        """Score rows, `batch_rows` at a time so that memory does not grow with their number.

        A row's scores are the same bits whatever rows are scored with it. ONNX Runtime adds up a single row in another
        order than the rows of a batch, so no row is ever run alone.

        Args:
            inputs: Arrays [N, ...] by input name, N at least 1.
            batch_rows: Rows of one call to ONNX Runtime.

        Raises:
            ModelError: An input is missing, or its type or shape is not what the model takes.
        """
        missing = [name for name in self.input_names if name not in inputs]
        if missing:
            raise ModelError(f"input {', '.join(missing)} missing", where=self.file)
        num_rows, step = len(inputs[self.input_names[0]]), 1 if self._alone else batch_rows
        parts = []
        try:
            for start in range(0, num_rows, step):
                feed = {name: inputs[name][start : start + step] for name in self.input_names}
                parts.append(self._run(feed))
        except runtime_errors() as error:
            raise ModelError(f"inputs do not fit: {str(error).splitlines()[0]}", where=self.file) from None
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _run(self, feed: dict[str, Array]) -> Array:
        num_rows = len(feed[self.input_names[0]])
        if num_rows == 1:
            feed = {name: np.repeat(rows, 2, axis=0) for name, rows in feed.items()}
        scores: Array = self._session.run([OUTPUT], feed)[0]
        return scores[:num_rows]


def available_threads() -> int:
    """How many threads this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def runtime_errors() -> tuple[type[Exception], ...]:
    """What ONNX Runtime raises; its exceptions have no base class of their own."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    names = (
        "Fail",
        "InvalidArgument",
        "InvalidGraph",
        "InvalidProtobuf",
        "NoModel",
        "NoSuchFile",
        "NotImplemented",
        "RuntimeException",
    )
    return tuple(getattr(state, name) for name in names)

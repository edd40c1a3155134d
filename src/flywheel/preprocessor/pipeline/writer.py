"""Writes safetensors files chunk by chunk, in the very layout of `safetensors.numpy.save_file`.

The format: a 64-bit little-endian length, a JSON header of that length (padded with spaces to a multiple of 8), then
the tensors' bytes.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np

# In the order in which safetensors lays out tensors: by its own list of data types, then by name.
_CODES = {
    "uint64": "U64", "int64": "I64", "float64": "F64", "float32": "F32", "uint32": "U32", "int32": "I32",
    "float16": "F16", "uint16": "U16", "int16": "I16", "int8": "I8", "uint8": "U8", "bool": "BOOL",
}  # fmt: skip
_ORDER = list(_CODES)


class SafetensorsWriter:
    """Several arrays with the same number of rows, which arrive in chunks.

    Args:
        path: File to write.
        num_rows: Rows of every array, all chunks together.
        like: An array of each name, for its data type and the shape of one row.
    """

    def __init__(self, path: Path, num_rows: int, like: dict[str, np.ndarray[Any, Any]]) -> None:
        self.path, self.num_rows = path, num_rows
        self._kinds = {name: (array.dtype, array.shape[1:]) for name, array in like.items()}
        self._offsets: dict[str, int] = {}
        self._done = 0
        header = self._header()
        self._start = 8 + len(header)
        self._file: IO[bytes] = path.open("wb")
        self._file.write(len(header).to_bytes(8, "little") + header)
        self._file.truncate(self._start + sum(num_rows * self._row_bytes(name) for name in like))

    def __enter__(self) -> SafetensorsWriter:
        """Nothing more to open."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file; rows that never came are a bug of the caller."""
        self._file.close()
        if kind is None and self._done != self.num_rows:
            raise ValueError(f"{self.path.name}: {self._done} rows written of {self.num_rows}")

    def append(self, arrays: dict[str, np.ndarray[Any, Any]]) -> None:
        """Write the next rows of every array."""
        count = len(next(iter(arrays.values())))
        for name, (dtype, shape) in self._kinds.items():
            array = arrays[name]
            if array.dtype != dtype or array.shape != (count, *shape):
                raise ValueError(f"{name}: {array.dtype} {array.shape} does not follow {dtype} {(count, *shape)}")
            self._file.seek(self._start + self._offsets[name] + self._done * self._row_bytes(name))
            self._file.write(np.ascontiguousarray(array).astype(dtype.newbyteorder("<"), copy=False).data)
        self._done += count

    def _row_bytes(self, name: str) -> int:
        dtype, shape = self._kinds[name]
        size: int = dtype.itemsize * math.prod(shape)
        return size

    def _header(self) -> bytes:
        entries, offset = {}, 0
        for name in sorted(self._kinds, key=lambda name: (_ORDER.index(self._kinds[name][0].name), name)):
            dtype, shape = self._kinds[name]
            end = offset + self.num_rows * self._row_bytes(name)
            entries[name] = {
                "dtype": _CODES[dtype.name],
                "shape": [self.num_rows, *shape],
                "data_offsets": [offset, end],
            }
            self._offsets[name], offset = offset, end
        header = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode()
        return header + b" " * (-len(header) % 8)

"""Vector quantisation of frames: each becomes the number of the nearest of a few hundred typical ones."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np

from flywheel.project.types import Json

Array = np.ndarray[Any, Any]

MAX_FRAMES = 200_000
"""Frames that the typical ones are learnt from; of more, every second, fourth, ... is taken."""

BLOCK_FRAMES = 4096


class FrameSample:
    """Keeps every frame, or every 2nd, 4th, 8th, ... when there are too many; where chunks end does not matter."""

    def __init__(self, limit: int = MAX_FRAMES) -> None:
        self._limit, self._stride, self._seen = limit, 1, 0
        self._kept: list[Array] = []
        self._num_kept = 0

    def add(self, frames: Array) -> None:
        """Take in the next frames, [N, F]."""
        chosen = frames[-self._seen % self._stride :: self._stride]
        self._seen += len(frames)
        self._kept.append(chosen.copy())
        self._num_kept += len(chosen)
        while self._num_kept > self._limit:
            whole = np.concatenate(self._kept)[::2]
            self._kept, self._num_kept, self._stride = [whole], len(whole), 2 * self._stride

    def frames(self) -> Array:
        """What was kept, [M, F]."""
        return np.concatenate(self._kept)


def fit_codebook(frames: Array, num_codes: int, seed: int) -> Array:
    """Find typical frames by k-means on small batches (Sculley 2010, scikit-learn), on one thread: the same bits again.

    Args:
        frames: float32 [N, F].
        num_codes: Number of codes; fewer where there are fewer different frames.
        seed: The seed of the first centres and of the batches.

    Returns:
        float32 [num_codes, F].
    """
    from sklearn.cluster import MiniBatchKMeans
    from threadpoolctl import threadpool_limits  # comes with scikit-learn

    distinct = len(np.unique(frames, axis=0))
    kmeans = MiniBatchKMeans(
        min(num_codes, distinct), random_state=seed, batch_size=BLOCK_FRAMES, n_init=1, max_iter=20
    )
    with threadpool_limits(limits=1):
        centres = kmeans.fit(frames).cluster_centers_
    return np.ascontiguousarray(centres, np.float32)


def nearest_codes(frames: Array, codebook: Array) -> Array:
    """Give the number of each frame's nearest code (Euclidean; of equally near ones the first), int32 [N]."""
    from scipy.spatial.distance import cdist

    codes = np.empty(len(frames), np.int32)
    for start in range(0, len(frames), BLOCK_FRAMES):
        distances = cdist(frames[start : start + BLOCK_FRAMES], codebook, "sqeuclidean")
        codes[start : start + BLOCK_FRAMES] = distances.argmin(axis=1)
    return codes


def codebook_to_json(codebook: Array) -> Json:
    """Write a codebook's shape, and its numbers as base64 of little-endian float32."""
    return {"shape": list(codebook.shape), "float32": base64.b64encode(codebook.astype("<f4").tobytes()).decode()}


def codebook_from_json(state: Json) -> Array:
    """Read what `codebook_to_json` wrote.

    Raises:
        KeyError: Something is missing.
        ValueError: The numbers do not fit the shape.
    """
    numbers = np.frombuffer(base64.b64decode(state["float32"], validate=True), dtype="<f4")
    return numbers.reshape(state["shape"]).astype(np.float32)

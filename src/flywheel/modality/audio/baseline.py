"""Logistic regression on statistics of MFCC: the classical model that a network of recordings has to beat."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from flywheel.modality.audio.data.features import mfcc
from flywheel.modality.audio.data.preprocessor import AudioPreprocessor
from flywheel.modality.audio.data.spectrum import MIDDLE, PADDING, STEPS
from flywheel.project.errors import ConfigError
from flywheel.report.baseline import Baseline, BaselineData, Features, LogisticRegression
from flywheel.report.bootstrap import Array
from flywheel.report.examples import Examples
from flywheel.report.logistic import Strengths

PARTS = 3
"""Equal parts of a clip whose statistics are taken as well: what comes first tells words apart."""


def mfcc_logistic_regression(
    c: Sequence[float] = (0.001, 0.01, 0.1, 1.0), max_iterations: int = 200, tolerance: float = 1e-3
) -> Baseline:
    """Logistic regression on means and deviations of MFCC and of their changes, standardised.

    Args:
        c: Inverse strengths of the L2 penalty to try; validation log-loss chooses.
        max_iterations: Most iterations of one fit.
        tolerance: Largest gradient at which a fit has converged.
    """
    return MfccLogisticRegression(Strengths(c, max_iterations, tolerance))


class MfccLogisticRegression(LogisticRegression):
    """See `mfcc_logistic_regression`."""

    title: ClassVar[str] = "MFCC and logistic regression"

    def features(self, data: BaselineData) -> Features:
        """The statistics of some rows.

        Raises:
            ConfigError: The task keeps no spectra.
        """
        made = data.preprocessor
        if not isinstance(made, AudioPreprocessor) or made.features == "quantised":
            what = "is for spectra, which this task does not keep"
            raise ConfigError(what, where="evaluate.baselines", fix="use evaluate: text, or classification")
        std = np.asarray(made.to_json()["fitted"]["std"], np.float32)

        def statistics(part: Examples, index: Array) -> Array:
            packed = part.inputs(index)["spectrogram"].numpy()
            values = (packed.astype(np.float32) - MIDDLE) / STEPS * std
            if made.features == "log_mel":
                values = mfcc(values, min(made.num_coefficients, values.shape[-1]))
            return clip_statistics(values, (packed != PADDING).any(axis=2))

        number = 4 * (1 + PARTS) * min(made.num_coefficients, len(std))
        described = f"{number:,} means and deviations a row, of MFCC and of their changes in a clip and its thirds"
        return Features(number, statistics, described, standardise=True)


def clip_statistics(values_NTF: Array, is_sound: Array) -> Array:
    """Means and deviations over time of each value and of its change, float32 [N, 4 (1 + PARTS) F].

    Args:
        values_NTF: Frames, with padding at the end.
        is_sound: bool [N, T], which of them are no padding.
    """
    change = np.zeros_like(values_NTF)
    change[:, 1:-1] = (values_NTF[:, 2:] - values_NTF[:, :-2]) / 2
    between = is_sound.copy()  # frames with a neighbour on each side
    between[:, 1:-1] &= is_sound[:, 2:]
    between[:, [0, -1]] = False
    lengths = is_sound.sum(axis=1, keepdims=True)
    place = np.arange(is_sound.shape[1]) * PARTS // np.maximum(lengths, 1)
    parts = [np.ones_like(is_sound), *(place == part for part in range(PARTS))]
    found = []
    for part in parts:
        for values, usable in ((values_NTF, is_sound), (change, between)):
            found += _mean_and_std(values, usable & part)
    return np.concatenate(found, axis=1).astype(np.float32)


def _mean_and_std(values_NTF: Array, usable: Array) -> list[Array]:
    """Over the usable frames, [N, F] each; 0 where there are none."""
    weight = usable[..., None].astype(np.float32)
    number = np.maximum(weight.sum(axis=1), 1)
    mean = (values_NTF * weight).sum(axis=1) / number
    spread = ((values_NTF - mean[:, None]) ** 2 * weight).sum(axis=1) / number
    return [mean, np.sqrt(spread)]


BASELINES = (mfcc_logistic_regression,)
"""What a task may name in `evaluate.baselines`."""

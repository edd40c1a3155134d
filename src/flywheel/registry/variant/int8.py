"""Eight-bit variants, by ONNX Runtime's quantiser: activations measured for each request, or calibrated beforehand."""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import onnx

from flywheel.project.errors import ConfigError, ModelError, nearest
from flywheel.project.types import Json
from flywheel.registry.onnx_model import runtime_errors
from flywheel.registry.variant.base import Array, Maker, Material, open_graph, write_graph
from flywheel.registry.variant.tables import quantise_tables

METHODS = {"minmax": "MinMax", "entropy": "Entropy", "percentile": "Percentile"}
STATIC_OPERATORS = ("Conv", "Gemm", "MatMul")
DYNAMIC_OPERATORS = ("Conv", "Gemm", "MatMul", "LSTM")
_READY = "onnx.quant.pre_process"
_BATCH_ROWS = 64


class DynamicInt8(Maker):
    """Weights in int8; each activation is quantised as it comes, by its own range. Needs no data.

    ONNX Runtime takes that range over a whole batch, so rows are run one by one: a row's answer must not depend on
    the other rows, and the server's batches differ from those of evaluate.

    Tables of vectors are stored in eight bits too (`flywheel.registry.variant.tables`).

    Args:
        operators: ONNX operators whose weights are quantised.
        per_channel: Whether each output channel has a scale of its own.
        reduce_range: Whether weights use 7 bits, for processors without VNNI, whose 16-bit sums can overflow.
    """

    def __init__(
        self,
        operators: Sequence[str] = DYNAMIC_OPERATORS,
        per_channel: bool = True,
        reduce_range: bool = False,
    ) -> None:
        self.operators, self.per_channel, self.reduce_range = list(operators), per_channel, reduce_range

    def make(self, material: Material, target: Path) -> Json:
        """Quantise."""
        from onnxruntime.quantization import QuantType, quantize_dynamic

        model, num_tables = _prepared(material.source)
        with _explained(num_tables, model, self.operators):
            quantize_dynamic(
                model, target, op_types_to_quantize=self.operators, per_channel=self.per_channel,
                reduce_range=self.reduce_range, weight_type=QuantType.QInt8,
            )  # fmt: skip
        write_graph(open_graph(target), target)
        return {}


class StaticInt8(Maker):
    """Weights and activations in int8; the activations' ranges are measured on train rows (Jacob et al. 2018,
    arXiv:1712.05877). The file has quantise and dequantise nodes (QDQ), which ONNX Runtime fuses into int8 kernels.

    Args:
        num_rows: Train rows to calibrate with.
        seed: Seed with which they are drawn.
        method: `minmax`, `entropy` or `percentile`: how a range is made of what was seen.
        operators: ONNX operators that are quantised.
        per_channel: Whether each output channel has a scale of its own.
        reduce_range: Whether weights use 7 bits, for processors without VNNI, whose 16-bit sums can overflow.

    Raises:
        ValueError: There are no rows to calibrate with.
        ConfigError: The method is not known.
    """

    def __init__(
        self,
        num_rows: int = 512,
        seed: int = 0,
        method: str = "minmax",
        operators: Sequence[str] = STATIC_OPERATORS,
        per_channel: bool = True,
        reduce_range: bool = False,
    ) -> None:
        if num_rows < 1:
            raise ValueError(f"num_rows must be above 0, not {num_rows}")
        if method not in METHODS:
            raise ConfigError(f"'{method}' is not known", where="export.variants: method", fix=nearest(method, METHODS))
        self.num_rows, self.seed, self.method = num_rows, seed, method
        self.operators, self.per_channel, self.reduce_range = list(operators), per_channel, reduce_range

    def make(self, material: Material, target: Path) -> Json:
        """Calibrate and quantise."""
        from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

        rows = material.draw(self.num_rows, self.seed)
        model, num_tables = _prepared(material.source)
        with _explained(num_tables, model, self.operators):
            quantize_static(
                model, target, _reader(rows), quant_format=QuantFormat.QDQ, op_types_to_quantize=self.operators,
                per_channel=self.per_channel, reduce_range=self.reduce_range, weight_type=QuantType.QInt8,
                activation_type=QuantType.QUInt8, calibrate_method=getattr(CalibrationMethod, METHODS[self.method]),
            )  # fmt: skip
        write_graph(open_graph(target), target)
        return {}


def _prepared(source: Path) -> tuple[Any, int]:
    """The model with shapes of all tensors and eight-bit tables, marked as ready, and how many tables there were."""
    model = onnx.shape_inference.infer_shapes(open_graph(source))
    num_tables = quantise_tables(model)
    if num_tables:
        model = onnx.shape_inference.infer_shapes(model)
    model.metadata_props.add(key=_READY, value="onnxruntime.quant")  # else it says on the root logger that it is not
    return model, num_tables


def _reader(rows: dict[str, Array]) -> Any:
    """The rows as the quantiser wants to be given them."""
    from onnxruntime.quantization import CalibrationDataReader

    class Reader(CalibrationDataReader):  # type: ignore[misc]  # the library has no types
        """A batch at a time."""

        def __init__(self) -> None:
            count = len(next(iter(rows.values())))
            starts = range(0, count, _BATCH_ROWS)
            self._batches = iter([{n: a[start : start + _BATCH_ROWS] for n, a in rows.items()} for start in starts])

        def get_next(self) -> dict[str, Array] | None:
            """Give the next batch, or None after the last."""
            return next(self._batches, None)

    return Reader()


@contextlib.contextmanager
def _explained(num_tables: int, model: Any, operators: Sequence[str]) -> Iterator[None]:
    """Make one reason of what the quantiser raises, which has no base class, and keep its words off the terminal.

    Raises:
        ModelError: The quantiser failed, or there is nothing for it to do.
    """
    if not num_tables and not any(node.op_type in operators for node in model.graph.node):
        raise ModelError(f"has nothing to quantise: no table and no {', '.join(operators)}")
    import onnxruntime

    root = logging.getLogger()
    handlers, disabled = list(root.handlers), root.manager.disable
    logging.disable(logging.WARNING)
    onnxruntime.set_default_logger_severity(3)  # warnings off: calibration leaves a tensor that nothing reads
    raised: tuple[type[Exception], ...] = (
        ValueError, RuntimeError, KeyError, TypeError, AttributeError, IndexError, AssertionError,
        onnx.checker.ValidationError, onnx.shape_inference.InferenceError, *runtime_errors(),
    )  # fmt: skip
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # calibration by entropy prints what it does
            yield
    except raised as error:
        why = str(error).strip().splitlines() or [type(error).__name__]
        raise ModelError(f"ONNX Runtime's quantiser cannot take it: {why[0]}") from error
    finally:
        onnxruntime.set_default_logger_severity(2)
        logging.disable(disabled)
        root.handlers[:] = handlers

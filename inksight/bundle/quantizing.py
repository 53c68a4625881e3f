"""Fewer bits per number: float16 weights, and int8 for weights and activations.

int8 is static: the ranges of activations are measured on training images beforehand (dynamic int8 measures them in
every call and is slower for convolutions). Preprocessing and softmax stay in float32. Weights get 7 of the 8 bits,
since CPUs without VNNI instructions overflow with 8; that cost simple_cnn nothing (0.9163 on 3,823 drawings).

Not guaranteed: that it is faster. Small nets are bound by the calls, not by the arithmetic, and on some CPUs int8
convolutions are slower than float32 ones; measure with `inksight bench`.
"""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inksight.bundle.graph import INPUT, PREPROCESS, serialise
from inksight.errors import BundleError

CALIBRATION_IMAGES = 512
_BATCH = 32

# What gains from int8 arithmetic, and what can pass int8 through without leaving it.
_QUANTIZED = ("Conv", "Gemm", "MatMul", "Add", "Mul", "Concat", "MaxPool", "AveragePool", "GlobalAveragePool", "Relu")
_ARITHMETIC = ("Conv", "Gemm", "MatMul")


def to_int8(graph: bytes, description: Mapping[str, Any], images: NDArray[np.uint8]) -> bytes:
    """Return the ONNX graph with int8 weights (per channel) and activations, calibrated on 512 of the uint8 `images`.

    Raises BundleError when the graph has no layer that int8 arithmetic could do, or onnxruntime cannot convert it.
    """
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            chosen = images[np.linspace(0, len(images) - 1, min(CALIBRATION_IMAGES, len(images))).astype(np.int64)]
            self.batches = iter(np.array_split(chosen, max(1, len(chosen) // _BATCH)))

        def get_next(self) -> dict[str, Any] | None:
            batch = next(self.batches, None)
            return None if batch is None else {INPUT: batch}

    with tempfile.TemporaryDirectory() as name, _quiet():
        folder = Path(name)
        (folder / "model.onnx").write_bytes(graph)
        # Folds batch norms into convolutions, so that their weights are quantised as one.
        quant_pre_process(str(folder / "model.onnx"), str(folder / "folded.onnx"), skip_symbolic_shape=True)
        nodes = onnx.load(folder / "folded.onnx").graph.node
        if not any(node.op_type in _ARITHMETIC and not node.name.startswith(PREPROCESS) for node in nodes):
            raise BundleError("this model has no convolution or dense layer that int8 arithmetic could do")
        quantize_static(
            folder / "folded.onnx",
            folder / "int8.onnx",
            Reader(),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(_QUANTIZED),
            nodes_to_exclude=[node.name for node in nodes if node.name.startswith(PREPROCESS)],
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
        quantized = onnx.load(folder / "int8.onnx")
    return serialise(quantized, description)


def to_float16(graph: bytes, description: Mapping[str, Any]) -> bytes:
    """Return the ONNX graph with float16 weights and arithmetic; uint8 in and float32 out as before.

    Half the size. Made for accelerators: on CPUs onnxruntime computes in float32 all the same.
    """
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16

    with _quiet():
        model = convert_float_to_float16(onnx.load_from_string(graph), keep_io_types=True, disable_shape_infer=False)
    return serialise(model, description)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Hold back onnxruntime's advice (root logger, prints): it is about graphs that this module does not make."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(logging.NOTSET)

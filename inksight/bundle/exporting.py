"""A bundle's model in other formats, each compared with PyTorch before it is handed over.

    onnx               the bundle's own graph, as one file
    onnx-fp16          the same with float16 weights and arithmetic, for accelerators
    onnx-int8          the same with int8 weights and activations, calibrated on training images
    torch-export       torch.export's program (.pt2), for PyTorch without Inksight; a zip, so Inksight never loads one
    safetensors-fp16   only the weights, in half precision
    openvino           OpenVINO's .xml and .bin (pip install 'inksight[openvino]')
    litert             LiteRT's .tflite for phones (needs an environment of its own: see MissingPartError's hint); not
                       for shallow models, whose features need float64

An exact format that differs from PyTorch by more than 1e-4, or in one first answer, is refused; of a lossy one the
report says what it costs. The file appears when everything has passed, and not before.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inksight.bundle.classifier import Classifier
from inksight.bundle.comparing import answer_change, check_classes, speed_change
from inksight.bundle.files import read_recorded
from inksight.bundle.graph import to_onnx
from inksight.bundle.loading import onnx_runner, torch_runner
from inksight.bundle.parity import SAMPLES, Predict, batched, compare, made_images, parity_images, require, spread
from inksight.bundle.quantizing import CALIBRATION_IMAGES, to_float16, to_int8
from inksight.data.dataset import Dataset
from inksight.errors import BundleError, ConflictError, MissingPartError, UsageError, unknown
from inksight.workspace import work_folder

Write = Callable[[Classifier, Path, Dataset | None], Predict]


@dataclass(frozen=True)
class Format:
    """One export format: file ending, whether it must equal PyTorch, its writer, and whether it is run here by a
    runtime of its own, so that timing it says something."""

    suffix: str
    exact: bool
    write: Write
    timed: bool = True


def export(
    model: Classifier, format: str, out: str | Path | None = None, *, data: Dataset | None = None, force: bool = False
) -> dict[str, Any]:
    """Write the model in `format` to `out` (default: <name>.<ending> here) and return a report of what it costs.

    `data` gives validation images for the comparison and training images for calibration (needed for onnx-int8).
    The report: path, bytes, differences to PyTorch, accuracy before and after, latency beside the bundle's own.
    Raises NotFoundError for an unknown format, BundleError when an exact format is not exact, ConflictError when the
    file exists and not `force`, MissingPartError when a package is missing.
    """
    kind = find_format(format)
    target = Path(out) if out is not None else Path(f"{model.name}{kind.suffix}")
    if target.exists() and not force:
        raise ConflictError(f"{str(target)!r} exists", hint="Choose another name with --out, or --force to replace it.")
    if data is not None:
        check_classes(model, data)
    reference = torch_runner(model.network())
    with work_folder(target) as folder:
        temporary = folder / f"model{kind.suffix}"
        with redirect_stdout(sys.stderr):  # litert-torch tells of its steps; standard output is for the result
            run = kind.write(model, temporary, data)
        images = spread(data.images("val"), SAMPLES) if data is not None and data.size("val") else None
        if kind.exact:
            compared, made = parity_images(model.description, images)
            parity = compare(batched(reference, compared), batched(run, compared), real=made < len(compared))
            require(parity, f"the export to {format} is")
        report: dict[str, Any] = {"format": format, "path": str(target)}
        report |= answer_change(reference, run, model, data)
        if kind.timed:
            timed = images if images is not None else made_images(model.image_shape, 64)
            report["speed"] = speed_change({"bundle": model.predict_proba, format: run}, timed)
        report["bundle_bytes"] = model.description["files"]["model.onnx"]["bytes"]
        report["bytes"] = _publish(temporary, target)
    return report


def find_format(name: str) -> Format:
    """Return the export format of that name; raises NotFoundError with the nearest names."""
    if name not in FORMATS:
        raise unknown("format", name, FORMATS, option="--format")
    return FORMATS[name]


def _publish(temporary: Path, target: Path) -> int:
    """Move what was written to its place, OpenVINO's .bin beside its .xml; return the bytes of both."""
    total = 0
    for part in list(temporary.parent.glob("model.*")):
        total += part.stat().st_size
        os.replace(part, target if part == temporary else target.with_suffix(part.suffix))
    return total


def _exact_graph(model: Classifier) -> bytes:
    """Return the float32 graph: the bundle's own, or a new export when the bundle's was quantised."""
    if model.description["precision"] == "float32":
        return read_recorded(model.folder, "model.onnx", model.description)
    return to_onnx(model.network(), model.description)


def _run_onnx(graph: bytes, path: Path) -> Predict:
    path.write_bytes(graph)
    return onnx_runner(graph, 1, str(path))


def _onnx(model: Classifier, path: Path, data: Dataset | None) -> Predict:
    return _run_onnx(_exact_graph(model), path)


def _onnx_fp16(model: Classifier, path: Path, data: Dataset | None) -> Predict:
    return _run_onnx(to_float16(_exact_graph(model), model.description), path)


def _onnx_int8(model: Classifier, path: Path, data: Dataset | None) -> Predict:
    return _run_onnx(to_int8(_exact_graph(model), model.description, training_images(model, data)), path)


def training_images(model: Classifier, data: Dataset | None) -> NDArray[np.uint8]:
    """Return the images that int8 is calibrated on; raises UsageError when there are none."""
    if data is None or not data.size("train"):
        raise UsageError(
            f"int8 must be calibrated on training images of {model.name!r}, and there are none",
            hint="Say where they are: --data DATASET.",
        )
    check_classes(model, data)
    return spread(data.images("train"), CALIBRATION_IMAGES)


def _torch_export(model: Classifier, path: Path, data: Dataset | None) -> Predict:
    import torch

    example = torch.zeros((2, *model.image_shape), dtype=torch.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch 2.13 about its own internals
        program = torch.export.export(
            model.network(), (example,), dynamic_shapes=({0: torch.export.Dim("batch")},), strict=False
        )
        torch.export.save(program, path)
    return torch_runner(program.module())


def _safetensors_fp16(model: Classifier, path: Path, data: Dataset | None) -> Predict:
    import copy

    import safetensors.torch

    network = copy.deepcopy(model.network())
    weights = {
        name: (value.half() if value.is_floating_point() else value).contiguous()
        for name, value in network.model.state_dict().items()
    }
    path.write_bytes(safetensors.torch.save(weights))
    network.model.load_state_dict({name: value.float() for name, value in weights.items()})
    return torch_runner(network)


def _openvino(model: Classifier, path: Path, data: Dataset | None) -> Predict:
    try:
        import openvino
    except ModuleNotFoundError:
        raise MissingPartError(
            "the format openvino needs the package openvino", hint="Install it with: pip install 'inksight[openvino]'"
        ) from None
    core = openvino.Core()
    # read_model, not convert_model: the latter reports its use to a server.
    converted = core.read_model(_exact_graph(model))
    openvino.save_model(converted, path, compress_to_fp16=False)
    options = {"INFERENCE_NUM_THREADS": 1, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    compiled = core.compile_model(core.read_model(path), "CPU", options)

    def predict(images: Any) -> Any:
        return compiled(np.ascontiguousarray(images))[0]

    return predict


def _litert(model: Classifier, path: Path, data: Dataset | None) -> Predict:
    try:
        import litert_torch
        from ai_edge_litert.interpreter import Interpreter
    except ModuleNotFoundError:
        raise MissingPartError(
            "the format litert needs the package litert-torch",
            hint="It needs older releases of packages that Inksight's server uses, so give it an environment of its "
            "own: python -m venv litert && litert/bin/pip install inksight litert-torch",
        ) from None
    import torch

    # LiteRT graphs have a fixed batch; phones ask about one picture at a time.
    example = torch.zeros((1, *model.image_shape), dtype=torch.uint8)
    try:
        converted = litert_torch.convert(model.network(), (example,))
    except (ValueError, RuntimeError) as error:  # e.g. float64, which the features of shallow models need
        why = next(iter(str(error).splitlines()), type(error).__name__)
        raise BundleError(
            f"litert-torch cannot convert {model.name!r}: {why}", hint="Choose another format, such as onnx."
        ) from error
    converted.export(str(path))
    interpreter = Interpreter(model_path=str(path), num_threads=1)
    interpreter.allocate_tensors()
    source, result = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]

    def predict(images: Any) -> Any:
        answers = []
        for image in images:
            interpreter.set_tensor(source, image[None])
            interpreter.invoke()
            answers.append(interpreter.get_tensor(result))
        return np.concatenate(answers)

    return predict


FORMATS: dict[str, Format] = {
    "onnx": Format(".onnx", True, _onnx),
    "onnx-fp16": Format(".fp16.onnx", False, _onnx_fp16),
    "onnx-int8": Format(".int8.onnx", False, _onnx_int8),
    "torch-export": Format(".pt2", True, _torch_export, timed=False),
    "safetensors-fp16": Format(".fp16.safetensors", False, _safetensors_fp16, timed=False),
    "openvino": Format(".xml", True, _openvino),
    "litert": Format(".tflite", True, _litert),
}

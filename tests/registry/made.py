"""Bundles as the registry sees them: a valid model.json, a graph that answers, and bytes instead of weights."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

CLASSES = ("cat", "dog", "sun")


def make_bundle(
    folder: Path,
    *,
    accuracy: float | None = 0.9,
    per_class: dict[str, float | None] | None = None,
    dataset: str = "a" * 64,
    split: str = "test",
    salt: str = "",
    weight: float = 0.01,
    **changes: Any,
) -> Path:
    """Write a bundle with these metrics; `salt` makes its bytes differ, `changes` replaces keys of model.json.

    `weight` is what the graph makes of brightness: NaN gives one that answers nothing.
    """
    folder.mkdir(parents=True)
    header = json.dumps({"__metadata__": {"salt": salt}}).encode()
    seen = changes.get("preprocessing", {}).get("input_shape", [28, 28])
    graph = make_graph(changes.get("classes", CLASSES), salt, weight, shape=seen)
    contents = {"model.safetensors": len(header).to_bytes(8, "little") + header, "model.onnx": graph}
    metrics: dict[str, Any] = {}
    if accuracy is not None:
        each: dict[str, float | None] = {**dict.fromkeys(CLASSES, accuracy), **(per_class or {})}
        metrics = {
            "split": split,
            "accuracy": accuracy,
            "per_class": {
                name: {"accuracy": value, "samples": 0 if value is None else 100} for name, value in each.items()
            },
        }
    description = {
        "format": "inksight-bundle",
        "format_version": 1,
        "name": "made",
        "kind": "drawing",
        "precision": "float32",
        "classes": list(CLASSES),
        "architecture": {"name": "simple_cnn", "options": {}, "parameters": 10},
        "preprocessing": {"input_shape": [28, 28], "size": [28, 28], "channels": 1, "mean": [0.5], "std": [0.5]},
        "parity": {"samples": 1000, "real": True, "max_difference": 1e-6, "top1_changes": 0},
        "dataset": {"name": "made", "sha256": dataset},
        "metrics": metrics,
        "settings": {"epochs": 3},
        "files": {
            name: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()} for name, data in contents.items()
        },
        **changes,
    }
    for name, data in contents.items():
        (folder / name).write_bytes(data)
    (folder / "model.json").write_text(json.dumps(description))
    (folder / "README.md").write_text("# made\n")
    return folder


def make_graph(
    classes: Sequence[str], salt: str = "", weight: float = 0.01, *, shape: Sequence[int] = (28, 28)
) -> bytes:
    """Return an ONNX graph that finds the classes more or less likely by how bright an image is."""
    weights = np.linspace(-weight, weight, len(classes), dtype=np.float32)[None]
    graph = helper.make_graph(
        [
            helper.make_node("Cast", ["images"], ["grey"], to=TensorProto.FLOAT),
            helper.make_node("Flatten", ["grey"], ["flat"]),
            helper.make_node("ReduceMean", ["flat", "axis"], ["mean"], keepdims=1),
            helper.make_node("MatMul", ["mean", "weights"], ["logits"]),
            helper.make_node("Softmax", ["logits"], ["probabilities"]),
        ],
        "made",
        [helper.make_tensor_value_info("images", TensorProto.UINT8, ["batch", *shape])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", len(classes)])],
        [numpy_helper.from_array(weights, "weights"), numpy_helper.from_array(np.array([1]), "axis")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10, doc_string=salt)
    written: bytes = onnx.ModelProto.SerializeToString(model)
    return written

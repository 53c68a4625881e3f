"""Bundles as the registry sees them: right names, a valid model.json, and bytes instead of a network."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

CLASSES = ("cat", "dog", "sun")


def make_bundle(
    folder: Path,
    *,
    accuracy: float | None = 0.9,
    per_class: dict[str, float] | None = None,
    dataset: str = "a" * 64,
    split: str = "test",
    salt: str = "",
    **changes: Any,
) -> Path:
    """Write a bundle with these metrics; `salt` makes its bytes differ, `changes` replaces keys of model.json."""
    folder.mkdir(parents=True)
    contents = {"model.safetensors": f"weights {salt}".encode() * 50, "model.onnx": f"graph {salt}".encode() * 30}
    metrics: dict[str, Any] = {}
    if accuracy is not None:
        each = dict.fromkeys(CLASSES, accuracy) | (per_class or {})
        metrics = {
            "split": split,
            "accuracy": accuracy,
            "per_class": {name: {"accuracy": value, "samples": 100} for name, value in each.items()},
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

"""Saving a bundle: written beside its place, read back, compared with the model it came from, then moved there whole.

save("bundle", model, architecture={"name": "simple_cnn", "options": {}}, classes=classes,
     preprocessing=preprocess.description | {"kind": "drawing"}, dataset={"name": ..., "sha256": ...}, samples=X_val)
"""

from __future__ import annotations

import copy
import hashlib
import json
import math
import os
import platform
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from numpy.typing import NDArray
from torch import nn

import inksight
from inksight.bundle.card import model_card
from inksight.bundle.classifier import Classifier
from inksight.bundle.description import FORMAT, FORMAT_VERSION, check
from inksight.bundle.graph import to_onnx
from inksight.bundle.loading import load, onnx_runner, torch_runner
from inksight.bundle.network import Network, changed_shapes, fresh_model, load_model
from inksight.bundle.parity import Parity, batched, compare, parity_images, require
from inksight.errors import BundleError, ConflictError
from inksight.models.preprocess import Preprocess
from inksight.workspace import readable_json


def save(
    folder: str | Path,
    module: nn.Module,
    *,
    architecture: Mapping[str, Any],
    classes: Sequence[str],
    preprocessing: Mapping[str, Any],
    name: str | None = None,
    dataset: Mapping[str, Any] | None = None,
    metrics: Mapping[str, Any] | None = None,
    settings: Mapping[str, Any] | None = None,
    provenance: Mapping[str, Any] | None = None,
    limits: Sequence[str] = (),
    derived: Sequence[Mapping[str, Any]] = (),
    samples: Any = None,
    storage: str = "float32",
    precision: str = "float32",
    convert: Callable[[bytes, Mapping[str, Any]], bytes] | None = None,
    judge: Callable[[Classifier], Mapping[str, Any]] | None = None,
) -> Path:
    """Write a trained model as a bundle and return its folder; an older bundle of that name is replaced.

    `module`: the bare model, normalised float32 (N, C, h, w) -> logits (N, classes), of the `architecture`
    {"name", "options"} in the registry of models; layers that became smaller by pruning are noted. It is copied, not
    changed. `preprocessing`: a Preprocess description plus "kind" ("drawing" or "photo"). `dataset`: name, sha256,
    licence, source, counts. `metrics`: an Evaluation's summary. `samples`: real images uint8 (N, H, W[, 3]) for the
    parity check, an array or an HDF5 dataset (see parity_images).

    `storage` is the number format of model.safetensors. With "float16" (half the size) the model is rounded to it
    before anything is compared or exported, so that both files hold the same numbers.

    `convert` turns the exact ONNX graph, once it has passed, into the one of `precision` that is shipped; how far that
    one is from the model is recorded, not judged. `judge` is called with the finished bundle, loaded, and returns its
    metrics; what it raises ends the saving.

    Raises BundleError when model.onnx is not the same classifier as the model (a probability differs by more than
    1e-4 or one first answer of 1,000 changes) or the model cannot be built again from its description; ConflictError
    when `folder` holds something else than a bundle. In both cases nothing is left behind.
    """
    target = Path(folder)
    model = copy.deepcopy(module).cpu().float().eval()
    stored = {"float32": torch.float32, "float16": torch.float16}[storage]
    model = model.to(stored).float()
    description: dict[str, Any] = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "name": name or f"{architecture['name']}-{(dataset or {}).get('name', 'model')}".replace("/", "-"),
        "kind": preprocessing.get("kind") or ("drawing" if preprocessing["channels"] == 1 else "photo"),
        "precision": "float32",
        "architecture": {
            "name": architecture["name"],
            "options": dict(architecture.get("options", {})),
            "parameters": sum(parameter.numel() for parameter in model.parameters()),
        },
        "classes": list(classes),
        "preprocessing": dict(preprocessing),
        "dataset": dict(dataset or {}),
        "metrics": dict(metrics or {}),
        "settings": dict(settings or {}),
        "provenance": dict(provenance or {}),
        "limits": list(limits),
        "derived": [dict(step) for step in derived],
        "code": {"inksight": inksight.__version__, "torch": torch.__version__, "python": platform.python_version()},
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    if shapes := changed_shapes(fresh_model(description), model):
        description["architecture"]["shapes"] = shapes
    load_model(description, model.state_dict())  # refuses a description that does not fit, before the slow export
    network = Network(Preprocess(preprocessing), model).eval()
    # Clones, because safetensors refuses tensors that share memory.
    weights = safetensors.torch.save(
        {
            key: value.detach().to(stored if value.is_floating_point() else value.dtype).clone().contiguous()
            for key, value in model.state_dict().items()
        }
    )
    images, made = parity_images(description, samples)
    real = made < len(images)
    expected = batched(torch_runner(network), images)
    with new_folder(target) as temporary:
        description["parity"] = asdict(Parity(0, False, 0.0, 0))
        write_files(temporary, description, weights, to_onnx(network, description))
        parity = _check_whole(temporary, expected, images, real=real)
        graph = (temporary / "model.onnx").read_bytes()
        if convert is not None:
            graph, description["precision"] = convert(graph, description), precision
            parity = compare(expected, batched(onnx_runner(graph, 1, str(target)), images), real=real)
            if not math.isfinite(parity.max_difference):
                raise BundleError(f"the {precision} graph refused: some of its answers are no numbers")
        description["parity"] = asdict(parity) | {"made": made}
        write_files(temporary, description, weights, graph)
        if judge is not None:
            description["metrics"] = dict(judge(load(temporary)))
            write_files(temporary, description, weights, graph)
    return target


def write_files(folder: Path, description: dict[str, Any], weights: bytes, graph: bytes) -> None:
    """Write the four files of a bundle into an existing folder and record sizes and checksums in `description`."""
    contents = {"model.safetensors": weights, "model.onnx": graph}
    description["files"] = {
        name: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()} for name, data in contents.items()
    }
    try:
        text = readable_json(description, default=_plain)
    except (TypeError, ValueError) as error:
        raise BundleError(f"the description cannot be written as JSON: {error}") from None
    description = check(json.loads(text), str(folder))
    contents["model.json"] = (text + "\n").encode()
    contents["README.md"] = model_card(description).encode()
    for name, data in contents.items():
        with open(folder / name, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """Yield a temporary folder beside `target` that takes its place when the block ends well and vanishes when not.

    A bundle that was there is moved aside first and removed last: a crash in between leaves it under a hidden name,
    and never half a bundle at `target`. Raises ConflictError when `target` is there and is no bundle.
    """
    occupied = target.exists() and not target.is_dir()
    if occupied or (target.is_dir() and any(target.iterdir()) and not (target / "model.json").is_file()):
        raise ConflictError(
            f"{str(target)!r} exists and is not a bundle, so it is not replaced", hint="Choose another folder."
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.parent / f".{target.name}.{secrets.token_hex(4)}.tmp"
    temporary.mkdir()
    try:
        yield temporary
        old = target.parent / f".{target.name}.{secrets.token_hex(4)}.old"
        if target.exists():
            os.rename(target, old)
        os.rename(temporary, target)
        _sync(target.parent)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def remove_halves(target: Path) -> None:
    """Remove what processes that were killed in `new_folder(target)` left beside it; none may be at work there."""
    halves = list(target.parent.glob(f".{target.name}.*.tmp"))
    if target.is_dir():  # else the one that was moved aside is all there is
        halves += target.parent.glob(f".{target.name}.*.old")
    for half in halves:
        shutil.rmtree(half, ignore_errors=True)


def _check_whole(folder: Path, expected: NDArray[np.float32], images: NDArray[np.uint8], *, real: bool) -> Parity:
    """Read the written bundle back both ways and compare with what the model in memory answered to `images`."""
    parity = compare(expected, load(folder).predict_proba(images), real=real)
    require(parity, "the export to ONNX is")
    few = images[:16]
    rebuilt = compare(expected[:16], load(folder, runtime="torch").predict_proba(few), real=real)
    require(rebuilt, "the rebuilt model is")
    return parity


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} {value!r}")


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

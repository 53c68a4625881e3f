"""model.json: what a bundle holds, read from a file that may have been written by anyone.

`check` is the schema: every key that loading, the card or a list of versions relies on, its type and its range. What
else is in the file (settings, provenance, further metrics) is carried along and not interpreted here.

Not guaranteed: that the metrics are true. Only the files' checksums are verified, and those only against model.json
itself: they find damage and mix-ups, not a forger who rewrites both. What a forger cannot do is run code (files.py).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from inksight.errors import BundleError
from inksight.workspace import NAME_LENGTH, is_path, is_printable

FORMAT = "inksight-bundle"
FORMAT_VERSION = 1

MAX_BYTES = 8 * 1024 * 1024
"""Largest model.json that is read: 345 classes with all their metrics take 0.2 MB."""

FILES = ("model.safetensors", "model.onnx")
"""The files whose size and SHA-256 model.json records."""

KINDS = ("drawing", "photo")
PRECISIONS = ("float32", "float16", "int8")

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*(/[A-Za-z0-9][A-Za-z0-9_.-]*)*")
_SHA256 = re.compile(r"[0-9a-f]{64}")


def describe(folder: str | Path) -> dict[str, Any]:
    """Return the checked content of a bundle's model.json; raises BundleError for a file that is not one.

    Cheap: reads neither weights nor graph, imports neither torch nor onnxruntime.
    """
    from inksight.bundle.files import read_limited

    return parse(read_limited(Path(folder), "model.json", MAX_BYTES), str(folder))


def parse(data: bytes, where: str) -> dict[str, Any]:
    """Parse and check the bytes of a model.json; `where` names the bundle in errors."""
    try:
        value = json.loads(data.decode("utf-8"), parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{where}: model.json is not valid JSON ({error})") from None
    return check(value, where)


def check(value: Any, where: str = "bundle") -> dict[str, Any]:
    """Check a description against the schema and return it; raises BundleError that names the wrong key."""
    root = _Reader(value, f"{where}: model.json")
    root.require("format", value.get("format") == FORMAT, f"must be {FORMAT!r}")
    version = root.integer("format_version", 1, 1_000_000)
    root.require(
        "format_version", version <= FORMAT_VERSION, f"is {version}, newer than this Inksight knows ({FORMAT_VERSION})"
    )
    title = root.text("name", NAME_LENGTH)
    # It becomes the default name of exported files.
    root.require("name", not is_path(title), "must be a name, not a path")
    root.choice("kind", KINDS)
    root.choice("precision", PRECISIONS)

    classes = root.items("classes", 1, 65_536)
    fit = all(isinstance(name, str) and 0 < len(name) <= NAME_LENGTH for name in classes)
    root.require("classes", fit, f"must be texts of 1 to {NAME_LENGTH} signs")
    root.require("classes", all(map(is_printable, classes)), "holds a name with control characters or half characters")
    root.require("classes", len(set(classes)) == len(classes), "holds the same class twice")

    architecture = root.object("architecture")
    # The name becomes a look-up in the registry of architectures, never a path or an address.
    name = architecture.text("name", 200)
    architecture.require("name", _NAME.fullmatch(name) is not None, f"{name!r} is not the name of an architecture")
    architecture.object("options")
    shapes = architecture.value.get("shapes", {})
    architecture.require("shapes", isinstance(shapes, dict), "must be an object")
    if architecture.value.get("parameters") is not None:
        architecture.integer("parameters", 0, 2**53)

    preprocessing = root.object("preprocessing")
    image = preprocessing.integers("input_shape", 1, 8192)
    preprocessing.require(
        "input_shape", len(image) == 2 or (len(image) == 3 and image[2] == 3), f"{image} is not (H, W) or (H, W, 3)"
    )
    for key in ("size", "crop") if preprocessing.value.get("crop") else ("size",):
        preprocessing.require(key, len(preprocessing.integers(key, 1, 8192)) == 2, "must be (height, width)")
    channels = preprocessing.integer("channels", 1, 3)
    for key in ("mean", "std"):
        numbers = preprocessing.items(key, 1, 3)
        preprocessing.require(key, all(_is_number(n) for n in numbers), "must be finite numbers")
        preprocessing.require(key, len(numbers) in (1, channels), f"has {len(numbers)} values for {channels} channels")
    preprocessing.require("std", min(preprocessing.value["std"]) > 0, "must be positive")

    files = root.object("files")
    files.require(
        "", set(files.value) == set(FILES), f"must list exactly {', '.join(FILES)}, not {sorted(files.value)}"
    )
    for file in FILES:
        entry = files.object(file)
        entry.integer("bytes", 1, 2**40)
        entry.require("sha256", _SHA256.fullmatch(entry.text("sha256", 64)) is not None, "is not a SHA-256 in hex")
    for key in ("metrics", "dataset", "settings", "provenance", "parity", "code"):
        root.require(key, isinstance(value.get(key, {}), dict), "must be an object")
    _check_metrics(_Reader(value.get("metrics", {}), f"{root.place}: 'metrics'"))
    parity = _Reader(value.get("parity", {}), f"{root.place}: 'parity'")
    for key in parity.value:
        if key != "real":
            parity.number(key)
    parity.require("real", not parity.value or isinstance(parity.value.get("real"), bool), "must be true or false")
    dataset = _Reader(value.get("dataset", {}), f"{root.place}: 'dataset'")
    for key in ("name", "sha256"):
        if dataset.value.get(key) is not None:
            dataset.text(key, 1000)
    for key, kind in (("limits", str), ("derived", dict)):
        items = value.get(key, [])
        ok = isinstance(items, list) and all(isinstance(item, kind) for item in items)
        root.require(key, ok, f"must be a list of {'texts' if kind is str else 'objects'}")
    return dict(value)


def _check_metrics(metrics: _Reader) -> None:
    """Check the numbers of an evaluation that lists, cards and gates read; one that was not measured may be missing."""
    metrics.measure("accuracy")
    metrics.interval("accuracy_interval")
    if metrics.value.get("samples") is not None:
        metrics.integer("samples", 0, 2**53)
    if metrics.value.get("split") is not None:
        metrics.text("split", 100)
    per_class = _Reader(metrics.value.get("per_class") or {}, f"{metrics.place}: 'per_class'")
    for name in per_class.value:
        row = per_class.object(name)
        row.measure("accuracy")
        row.interval("interval")
        row.integer("samples", 0, 2**53)
    if metrics.value.get("worst_class"):
        worst = metrics.object("worst_class")
        worst.text("class", 200)
        worst.number("accuracy")


class _Reader:
    """One JSON object with its place in the file, for errors that name the key."""

    def __init__(self, value: Any, place: str) -> None:
        if not isinstance(value, dict):
            raise BundleError(f"{place} must be an object, not {type(value).__name__}")
        self.value: Mapping[str, Any] = value
        self.place = place

    def require(self, key: str, condition: bool, problem: str) -> None:
        if not condition:
            raise BundleError(f"{self.place}: {key!r} {problem}" if key else f"{self.place} {problem}")

    def object(self, key: str) -> _Reader:
        self.require(key, key in self.value, "is missing")
        return _Reader(self.value[key], f"{self.place}: {key!r}")

    def text(self, key: str, longest: int) -> str:
        text = self.value.get(key)
        self.require(key, isinstance(text, str) and 0 < len(text) <= longest, f"must be a text of 1 to {longest} signs")
        self.require(key, is_printable(str(text)), "holds control characters or half characters")
        return str(text)

    def choice(self, key: str, choices: tuple[str, ...]) -> str:
        self.require(key, self.value.get(key) in choices, f"must be one of {', '.join(choices)}")
        return str(self.value[key])

    def integer(self, key: str, low: int, high: int) -> int:
        number = self.value.get(key)
        self.require(key, _is_integer(number, low, high), f"must be a whole number from {low} to {high}")
        return int(self.value[key])

    def number(self, key: str) -> None:
        self.require(key, _is_number(self.value.get(key)), "must be a finite number")

    def measure(self, key: str) -> None:
        """Check a share of samples, which may be missing."""
        share = self.value.get(key)
        self.require(key, share is None or (_is_number(share) and 0 <= share <= 1), "must be a number from 0 to 1")

    def interval(self, key: str) -> None:
        pair = self.value.get(key)
        ok = pair is None or (
            isinstance(pair, list) and len(pair) == 2 and all(n is None or _is_number(n) for n in pair)
        )
        self.require(key, ok, "must be two numbers")

    def items(self, key: str, shortest: int, longest: int) -> list[Any]:
        items = self.value.get(key)
        ok = isinstance(items, list) and shortest <= len(items) <= longest
        self.require(key, ok, f"must be a list of {shortest} to {longest} items")
        return list(self.value[key])

    def integers(self, key: str, low: int, high: int) -> list[int]:
        items = self.items(key, 1, 8)
        self.require(key, all(_is_integer(i, low, high) for i in items), f"must be whole numbers from {low} to {high}")
        return items


def _is_integer(value: Any, low: int, high: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON number")

"""The model card: README.md of a bundle, written from model.json alone, so that it cannot contradict it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_CLOSED = "It knows only the classes above and always answers one of them, also for a {kind} of something else."
_UNLIKE = {
    "drawing": "It sees drawings as small bitmaps of ink on paper; other pictures are turned into such bitmaps first, "
    "and shading, colour and background are lost.",
    "photo": "Photos unlike those it was trained on (other cameras, light, angles, drawings) may be answered wrongly "
    "and surely.",
}
_QUICKDRAW = (
    "Quick, Draw! drawings were made in at most 20 seconds by people who chose to play; about one in ten is "
    "mislabelled or unfinished, so no model reaches 100 % on them."
)


def model_card(description: Mapping[str, Any]) -> str:
    """Return the Markdown model card of a checked description."""
    metrics, dataset = description.get("metrics", {}), description.get("dataset", {})
    architecture, files = description["architecture"], description["files"]
    parts = [
        f"# {plain(description['name'])}",
        f"A classifier of {description['kind']}s with {len(description['classes'])} classes, made with Inksight "
        f"{plain(description.get('code', {}).get('inksight', ''))} on {str(description.get('created', ''))[:10]}.",
        _list(
            [
                f"Architecture: `{plain(architecture['name'])}`, {architecture.get('parameters', 0):,} parameters"
                + (", some of its channels pruned away" if architecture.get("shapes") else ""),
                f"Input: uint8 ({', '.join(['N', *map(str, description['preprocessing']['input_shape'])])}), "
                + ("0 paper, 255 ink" if description["kind"] == "drawing" else "RGB, 0 to 255"),
                f"Precision of `model.onnx`: {description['precision']}",
                f"Size: `model.onnx` {files['model.onnx']['bytes']:,} bytes, "
                f"`model.safetensors` {files['model.safetensors']['bytes']:,} bytes",
            ]
        ),
        "## Classes",
        ", ".join(plain(name) for name in description["classes"]) + ".",
        "## Data and licence",
        _list([f"{_words(key)}: {plain(value)}" for key, value in _facts(dataset)])
        or "The data were not recorded when this bundle was saved.",
        "" if any("licen" in key for key, _ in _facts(dataset)) else "The licence of the data was not recorded.",
        "## How good it is",
        _metrics(metrics),
        _per_class(metrics),
        _parity(description),
        "## Limits",
        _list(_limits(description)),
        _derived(description.get("derived", [])),
        "## How to use it",
        _usage(description),
    ]
    provenance = _facts(description.get("provenance", {}))
    if provenance:
        parts += ["## Provenance", _list([f"{_words(key)}: {plain(value)}" for key, value in provenance])]
    return "\n\n".join(part for part in parts if part) + "\n"


def plain(value: Any) -> str:
    """Return a value as one line of text that Markdown shows as it is."""
    text = " ".join(str(value).split())
    return "".join(f"\\{sign}" if sign in r"\`*<>|[]" else sign for sign in text)


def _limits(description: Mapping[str, Any]) -> list[str]:
    kind = description["kind"]
    limits = [_CLOSED.format(kind=kind), _UNLIKE[kind]]
    if "quickdraw" in str(description.get("dataset", "")).lower().replace(" ", ""):
        limits.append(_QUICKDRAW)
    return limits + [plain(limit) for limit in description.get("limits", [])]


def _metrics(metrics: Mapping[str, Any]) -> str:
    rows = []
    for key, value in metrics.items():
        if isinstance(value, float) and not isinstance(value, bool):
            interval = metrics.get(f"{key}_interval")
            rows.append((_words(key), f"{value:.4f}", _interval(interval)))
    worst = metrics.get("worst_class")
    if isinstance(worst, Mapping) and isinstance(worst.get("accuracy"), float):
        rows.append(
            (f"Worst class ({plain(worst.get('class'))})", f"{worst['accuracy']:.4f}", _interval(worst.get("interval")))
        )
    if not rows:
        return "It was not measured when this bundle was saved. `inksight evaluate` does that."
    samples, split = metrics.get("samples"), metrics.get("split", "test")
    lead = f"Measured on {samples:,} images of the {plain(split)} split. " if isinstance(samples, int) else ""
    return f"{lead}Accuracy is raw top-1.\n\n" + _table(("Measure", "Value", "95 % interval"), rows)


def _per_class(metrics: Mapping[str, Any]) -> str:
    per_class = metrics.get("per_class")
    if not isinstance(per_class, Mapping) or not per_class:
        return ""
    rows = []
    for name, row in per_class.items():
        if isinstance(row, Mapping) and isinstance(row.get("accuracy"), float | int):
            rows.append(
                (plain(name), f"{row['accuracy']:.3f}", _interval(row.get("interval")), str(row.get("samples", "")))
            )
    return "### Each class\n\n" + _table(("Class", "Accuracy", "95 % interval", "Images"), rows) if rows else ""


def _parity(description: Mapping[str, Any]) -> str:
    parity = description.get("parity", {})
    if "max_difference" not in parity:
        return ""
    samples = parity["samples"]
    made = parity.get("made", 0 if parity["real"] else samples)
    kind = f"{samples:,} {'made' if made else 'real'} images"
    if 0 < made < samples:
        kind = f"{samples:,} images ({samples - made:,} real, {made:,} made)"
    precision = description["precision"]
    lossy = "" if precision == "float32" else f" It is {precision} on purpose; its accuracy is what counts."
    return (
        f"`model.onnx` and PyTorch were compared on {kind}: probabilities differ by "
        f"at most {parity['max_difference']:.1e}, {parity['top1_changes']} first answers differ.{lossy}"
    )


def _derived(steps: Sequence[Mapping[str, Any]]) -> str:
    if not steps:
        return ""
    lines = [f"{plain(step.get('step', '?'))}: {plain(step.get('summary', ''))}" for step in steps]
    return "## Made from another bundle by\n\n" + _list(lines)


def _usage(description: Mapping[str, Any]) -> str:
    shape = ", ".join(map(str, description["preprocessing"]["input_shape"]))
    return f"""```python
import inksight

model = inksight.load("path/to/this/folder")
model.predict(["picture.png"])          # the most probable class of each picture
model.predict_proba(images)             # uint8 (N, {shape}) -> float32 (N, {len(description["classes"])})
```

```sh
inksight predict path/to/this/folder picture.png
inksight serve path/to/this/folder
```

Without Inksight: `model.onnx` takes `images`, uint8 (N, {shape}), and gives `probabilities`, float32
(N, {len(description["classes"])}); everything in between is inside the graph. The classes are in `model.json`,
in order."""


def _facts(values: Mapping[str, Any]) -> list[tuple[str, Any]]:
    # A path says something about the machine that trained, nothing to the reader.
    return [
        (key, value)
        for key, value in values.items()
        if key != "path" and isinstance(value, str | int | float) and value != ""
    ]


def _words(key: str) -> str:
    names = {"sha256": "SHA-256", "top_3": "Top-3 accuracy", "macro_f1": "Macro F1", "url": "URL"}
    return names.get(key, key.replace("_", " ").capitalize())


def _interval(pair: Any) -> str:
    return f"{pair[0]:.4f} to {pair[1]:.4f}" if isinstance(pair, list | tuple) and None not in pair else ""


def _list(lines: Sequence[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *rows]]
    return "\n".join(lines)

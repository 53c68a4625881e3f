"""`inksight export`: a model in another format, checked against the original."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from inksight.cli.options import ModelArgument
from inksight.cli.output import JsonFlag, print_json, print_table, say

if TYPE_CHECKING:
    from inksight.bundle import Classifier
    from inksight.data.dataset import Dataset

_FORMATS = "onnx, onnx-fp16, onnx-int8, torch-export, safetensors-fp16, openvino, litert"


def export(
    model: ModelArgument,
    format: Annotated[str, typer.Option("--format", "-f", help=f"One of: {_FORMATS}.")] = "onnx",
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FILE", help="Where to write; default: <name>.<ending> here.")
    ] = None,
    data: Annotated[
        str,
        typer.Option(
            "--data", metavar="DATA", help="Dataset to compare and calibrate on; default: the one trained on, if here."
        ),
    ] = "",
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
    json: JsonFlag = False,
) -> None:
    """Write a model in another format and say what that costs in accuracy, size and speed.

    An exact format that does not give PyTorch's answers is refused; nothing is written then.
    """
    import inksight
    from inksight.bundle.exporting import export as write
    from inksight.bundle.exporting import find_format

    find_format(format)
    classifier = inksight.load(model)
    dataset = dataset_for(classifier, data)
    report = write(classifier, format, out, data=dataset, force=force)
    if json:
        print_json(report)
        return
    print(f"{report['path']}: {report['bytes']:,} bytes (the bundle's model.onnx: {report['bundle_bytes']:,})")
    show_change(report)
    show_speed(report.get("speed", {}))


def dataset_for(classifier: Classifier, data: str) -> Dataset | None:
    """Return the dataset that was named, or the one the model was trained on if it is here, or None (said so)."""
    from inksight.data.dataset import open_dataset
    from inksight.errors import InksightError
    from inksight.evaluation.run import find_dataset

    try:
        return open_dataset(find_dataset(data or None, classifier))
    except InksightError as error:
        if data:
            raise
        say(f"note: {error.message}; comparing on made images instead (--data DATASET gives real ones)")
        return None


def show_change(change: dict[str, Any]) -> None:
    """Print what changed in the answers."""
    kind = "images" if change["real"] else "made images"
    print(
        f"on {change['samples']:,} {kind}: probabilities differ by up to {change['max_difference']:.2g}, "
        f"{change['top1_changes']:,} first answers change"
    )
    if "accuracy" in change:
        low, high = change["difference_interval"]
        print(
            f"accuracy on {change['split']}: {change['accuracy_before']:.4f} before, {change['accuracy']:.4f} after, "
            f"difference {change['difference']:+.4f} (95 %: {low:+.4f} to {high:+.4f})"
        )


def show_speed(speed: dict[str, Any]) -> None:
    """Print timings taken side by side."""
    rows = [
        [
            name,
            one["batch"],
            one["p50_ms"],
            one["low_ms"],
            one["high_ms"],
            one["p99_ms"],
            round(one["images_per_second"]),
        ]
        for name, timings in speed.items()
        for one in timings
    ]
    if rows:
        print_table(["one thread", "batch", "p50 ms", "lowest", "highest", "p99 ms", "images/s"], rows)

"""`inksight bench`: models side by side, by speed, size and memory."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from inksight.cli.options import settings_options
from inksight.cli.output import JsonFlag, print_json, print_table
from inksight.config import resolve
from inksight.settings import BenchSettings


@settings_options(BenchSettings)
def bench(
    models: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL...", help="Bundles, registry names or doodles; the first is what others are held to."
        ),
    ],
    data: Annotated[
        str, typer.Option("--data", metavar="DATA", help="Dataset whose test images are answered; none: made images.")
    ] = "",
    json: JsonFlag = False,
    options: dict[str, Any] = {},  # noqa: B006 - filled in by settings_options
    config: Path | None = None,
) -> None:
    """Time models in turns on the same images, with their size and memory."""
    settings = resolve(BenchSettings, file=config, options=options)
    import inksight
    from inksight.bundle.bench import bench as run
    from inksight.bundle.parity import spread
    from inksight.data.dataset import open_dataset
    from inksight.evaluation.run import find_dataset

    loaded = [inksight.load(model) for model in models]
    images = None
    if data:
        with open_dataset(find_dataset(data, loaded[0])) as dataset:
            split = "test" if dataset.size("test") else "train"
            images = spread(dataset.images(split), 1000)
    report = run(loaded, settings, images=images)
    if json:
        print_json(report)
        return
    print_table(
        ["model", "architecture", "precision", "parameters", "model.onnx", "folder", "process", "of it the model"],
        [
            [
                one["model"],
                one["architecture"],
                one["precision"],
                one["parameters"],
                f"{one['onnx_bytes'] / 1000:,.0f} kB",
                f"{one['folder_bytes'] / 1000:,.0f} kB",
                f"{one['process_mb']:.0f} MB",
                f"{one['model_mb']:.1f} MB",
            ]
            for one in report["models"]
        ],
    )
    print_table(
        ["threads", "batch", "model", "p50 ms", "lowest", "highest", "p99 ms", "images/s", "times faster", "calls"],
        [
            [
                one["threads"],
                one["batch"],
                one["model"],
                one["p50_ms"],
                one["low_ms"],
                one["high_ms"],
                one["p99_ms"],
                round(one["images_per_second"]),
                one["times_faster"],
                one["calls"],
            ]
            for one in report["timings"]
        ],
    )
    for one in report["agreement"]:
        kind = "" if data else " made"
        print(f"{one['model']} answers {one['same_answer']:.1%} of {one['images']:,}{kind} images as {one['as']} does.")

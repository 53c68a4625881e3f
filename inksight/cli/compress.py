"""`inksight compress`: a smaller bundle from a bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from inksight.cli.export import show_change, show_speed
from inksight.cli.options import ModelArgument, settings_options
from inksight.cli.output import JsonFlag, print_json, say
from inksight.config import resolve
from inksight.settings import CompressSettings


@settings_options(CompressSettings)
def compress(
    model: ModelArgument,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="FOLDER", help="The new bundle; default: <name>-small here."),
    ] = None,
    data: Annotated[
        str, typer.Option("--data", metavar="DATA", help="The dataset it was trained on; default: found by its name.")
    ] = "",
    force: Annotated[bool, typer.Option("--force", help="Replace a bundle that is there; never the model.")] = False,
    json: JsonFlag = False,
    options: dict[str, Any] = {},  # noqa: B006 - filled in by settings_options
    config: Path | None = None,
) -> None:
    """Prune and quantise a model, and say what that costs in accuracy and gains in size and speed.

    Pruning removes whole channels, so that the model really becomes smaller and faster; zeroing single weights would
    make it neither, since dense kernels multiply zeros as fast as other numbers.
    """
    settings = resolve(CompressSettings, file=config, options=options)
    import inksight
    from inksight.bundle.compressing import compress as run
    from inksight.data.dataset import open_dataset
    from inksight.evaluation.run import find_dataset

    classifier = inksight.load(model)
    target = out or Path(f"{classifier.name}-small")
    with open_dataset(find_dataset(data or None, classifier)) as dataset:
        report = run(classifier, target, dataset, settings, force=force, progress=say)
    if json:
        print_json(report)
        return
    before, after = report["before"], report["after"]
    print(f"{target}: made from {report['from']}")
    times = before["bytes"] / after["bytes"]
    print(f"model.onnx: {before['bytes']:,} -> {after['bytes']:,} bytes ({times:.1f} times smaller)")
    print(f"parameters: {before['parameters']:,} -> {after['parameters']:,}")
    show_change(report["change"])
    show_speed(report["speed"])

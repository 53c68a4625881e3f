"""`inksight data show`: what is in a dataset."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from inksight.cli.options import between
from inksight.cli.output import JsonFlag, print_json, print_table


def show(
    data: Annotated[str, typer.Argument(metavar="DATA", help="A dataset file, or the name of a prepared dataset.")],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Folder for counts.png and samples.png. [default: <file>-show beside it]"),
    ] = None,
    per_class: Annotated[int, typer.Option(callback=between(1, 100), help="Pictures per class on the sheet.")] = 12,
    seed: Annotated[int, typer.Option(callback=between(0), help="Which pictures are picked follows from it.")] = 0,
    json: JsonFlag = False,
) -> None:
    """Print class counts and balance, and draw them with samples of each class."""
    from inksight.data.dataset import SPLITS, open_dataset
    from inksight.data.ensure import find_dataset
    from inksight.data.show import describe, draw

    with open_dataset(find_dataset(data)) as dataset:
        found = describe(dataset)
        pictures = draw(dataset, out or dataset.path.with_name(f"{dataset.name}-show"), per_class=per_class, seed=seed)
    if json:
        print_json({**found, "pictures": {name: str(path) for name, path in pictures.items()}})
        return
    shape = " x ".join(map(str, found["image_shape"]))
    print(f"{found['name']}: {len(found['classes'])} classes, {found['total']:,} pictures of {shape} ({found['kind']})")
    print(f"from {found['source']}")
    rows = [[name, *(found["counts"][s][name] for s in SPLITS), found["per_class"][name]] for name in found["classes"]]
    print_table(["class", *SPLITS, "all"], rows)
    balance = found["balance"]
    ends = "" if balance["ratio"] == 1 else f" ({balance['largest']} : {balance['smallest']})"
    ratio = "none" if balance["ratio"] is None else f"{balance['ratio']:.2f}"
    print(f"balance ratio {ratio}{ends}, {balance['verdict']}")
    print(f"sha256 {found['sha256']}")
    for path in pictures.values():
        print(path)

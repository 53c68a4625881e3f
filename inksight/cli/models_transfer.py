"""`inksight models push` and `inksight models pull`: bundles into the registry and out of it."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from inksight.cli.models_show import Reference
from inksight.cli.output import JsonFlag, print_json


def push(
    bundle: Annotated[str, typer.Argument(help="A bundle's folder, a training run, or a built-in model.")],
    name: Annotated[str, typer.Argument(help="The model's name in the registry; a new one begins with version 1.")],
    parent: Annotated[str | None, typer.Option(help="The version it was trained from, e.g. doodle:3.")] = None,
    note: Annotated[str, typer.Option(help="A line to remember it by.")] = "",
    json: JsonFlag = False,
) -> None:
    """Add a bundle to the registry as the next version of a model."""
    from inksight import registry
    from inksight.bundle.loading import locate
    from inksight.errors import NotFoundError

    with closing(registry.open()) as store:
        version = store.register(locate(bundle), name, parent=parent, note=note)
    if json:
        print_json(version.as_dict())
        return
    print(f"{version.ref}: {version.bytes / 1e6:.2f} MB, SHA-256 {version.sha256[:12]}")
    try:
        before = locate(name)
    except NotFoundError:
        print(f"Let {name} mean it: inksight models promote {version.ref}")
    else:
        print(f"Let {name}@champion mean it: inksight models promote {version.ref}")
        print(f"{name} alone means {before}, which comes first.")


def pull(
    model: Reference,
    folder: Annotated[Path, typer.Argument(help="Where to put the bundle; must not exist yet.")],
    json: JsonFlag = False,
) -> None:
    """Copy a version's bundle out of the registry, verified."""
    from inksight import registry

    with closing(registry.open()) as store:
        version = store.find(model)
        store.pull(version, folder)
    if json:
        print_json({"version": version.ref, "folder": str(folder)})
    else:
        print(f"{version.ref} is in {folder}")

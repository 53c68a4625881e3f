"""`inksight data audit`: what should not be in a dataset."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from inksight.cli.data_prepare import Steps
from inksight.cli.options import settings_options
from inksight.cli.output import JsonFlag, print_json, print_table
from inksight.config import resolve
from inksight.settings import AuditSettings


@settings_options(AuditSettings)
def audit(
    data: Annotated[str, typer.Argument(metavar="DATA", help="A dataset file, or the name of a prepared dataset.")],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Folder for audit.json and the sheets. [default: <file>-audit beside it]"),
    ] = None,
    write_clean: Annotated[
        Path | None, typer.Option("--write-clean", help="Also write a dataset file without what was found.")
    ] = None,
    json: JsonFlag = False,
    *,
    options: dict[str, Any],
    config: Path | None = None,
) -> None:
    """List copies and near-copies (across splits too), blanks and likely wrong labels, with pictures.

    Nothing is changed; --write-clean writes a second file. Suspects are left out of its train split only.
    """
    from inksight.data.audit import audit as run
    from inksight.data.dataset import open_dataset
    from inksight.data.ensure import find_dataset

    settings = resolve(AuditSettings, file=config, options=options)
    with open_dataset(find_dataset(data)) as dataset:
        folder = out or dataset.path.with_name(f"{dataset.name}-audit")
        found = run(dataset, settings=settings, out=folder, clean=write_clean, progress=Steps())
    if json:
        print_json(found.as_dict())
        return
    print_table(["found", "number"], [[name.replace("_", " "), n] for name, n in found.summary().items()])
    if found.unjudged:
        names = ", ".join(found.unjudged[:10]) + (f" and {len(found.unjudged) - 10} more" * (len(found.unjudged) > 10))
        print(f"note: too few pictures to look for wrong labels in: {names}")
    for suspect in found.suspects[:10]:
        picture = suspect.picture
        print(
            f"{picture.id} ({picture.split}): {picture.label} {suspect.probability_given:.2f}, "
            f"rather {suspect.suggested} {suspect.probability_suggested:.2f}"
        )
    if len(found.suspects) > 10:
        print(f"... and {len(found.suspects) - 10} more")
    for path in [*sorted(folder.glob("*.png")), folder / "audit.json"]:
        print(path)
    if write_clean is not None:
        print(f"cleaned: {write_clean}")

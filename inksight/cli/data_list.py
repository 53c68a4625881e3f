"""`inksight data list`: the named datasets, or the classes of one of them."""

from __future__ import annotations

from typing import Annotated

import typer

from inksight.cli.output import JsonFlag, print_json, print_table, say


def list_presets(
    name: Annotated[str | None, typer.Argument(help="A preset: show its classes. Without it: all presets.")] = None,
    json: JsonFlag = False,
) -> None:
    """List the named datasets, or the classes of one.

    Your own presets are the TOML files in <home>/presets; what is wrong with a broken one is told.
    """
    from inksight.data import presets

    chosen, broken = ([presets.load(name)], {}) if name else presets.survey()
    for error in broken.values():
        say(f"warning: {error.message}")
    if json:
        print_json(
            [
                {
                    "name": preset.name,
                    "kind": preset.kind,
                    "summary": preset.summary,
                    "source": preset.source,
                    "classes": preset.classes,
                    "renamed": preset.renamed,
                    "missing": preset.missing,
                    "options": preset.options,
                }
                for preset in chosen
            ]
            + [{"name": each, "kind": None, "classes": [], **error.as_dict()} for each, error in broken.items()]
        )
    elif name:
        preset = chosen[0]
        print(f"{preset.name}: {preset.summary} ({len(preset.classes)} classes, {preset.kind})")
        print(", ".join(preset.classes))
        for note in preset.notes():
            print(note)
    else:
        print_table(
            ["name", "kind", "classes", "what"],
            [[preset.name, preset.kind, len(preset.classes), preset.summary] for preset in chosen],
        )

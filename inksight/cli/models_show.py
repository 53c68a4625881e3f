"""`inksight models list` and `inksight models show`."""

from __future__ import annotations

from contextlib import closing
from typing import Annotated, Any

import typer

from inksight.cli.output import JsonFlag, print_json, print_table

Reference = Annotated[
    str, typer.Argument(metavar="MODEL", help="name (its champion, else newest), name@alias or name:3.")
]


def list_versions(
    name: Annotated[str | None, typer.Argument(help="Only this model.")] = None,
    json: JsonFlag = False,
) -> None:
    """List the versions in the registry, newest first."""
    from inksight import registry

    with closing(registry.open()) as store:
        versions = store.versions(name)
    if json:
        print_json([version.as_dict() for version in versions])
        return
    if not versions:
        print("The registry is empty. Add a bundle: inksight models push BUNDLE NAME")
        return
    rows = [
        [
            version.ref,
            ", ".join(version.aliases),
            "" if version.accuracy is None else f"{version.accuracy:.2%}",
            (version.description.get("architecture") or {}).get("name", ""),
            len(version.description.get("classes") or []),
            round(version.bytes / 1e6, 2),
            f"{version.created_at:%Y-%m-%d %H:%M}",
        ]
        for version in versions
    ]
    columns = ["version", "aliases", "accuracy", "architecture", "classes", "MB", "made (UTC)"]
    print_table(columns, rows, spare=["classes", "architecture", "MB", "made (UTC)"])


def show(model: Reference, json: JsonFlag = False) -> None:
    """Show one version: what it is, where it comes from, how good it is, and how its aliases moved."""
    from inksight import registry

    with closing(registry.open()) as store:
        version = store.find(model)
        moves = [move for move in store.history(version.name) if version.number in (move.number, move.previous)]
    if json:
        history = [vars(move) | {"at": move.at.isoformat()} for move in moves]
        print_json(version.as_dict() | {"moves": history})
        return
    facts = version.as_dict()
    classes = facts["classes"] or []
    architecture, dataset, metrics = facts["architecture"] or {}, facts["dataset"] or {}, facts["metrics"]
    rows = [
        ["version", version.ref],
        ["aliases", ", ".join(version.aliases) or "none"],
        ["made", f"{version.created_at:%Y-%m-%d %H:%M:%S} UTC"],
        ["trained from", version.parent or "scratch or unknown"],
        ["architecture", f"{architecture.get('name')} ({architecture.get('parameters') or 0:,} parameters)"],
        ["classes", f"{len(classes)}: {', '.join(classes[:12])}{', ...' if len(classes) > 12 else ''}"],
        ["dataset", f"{dataset.get('name')} ({str(dataset.get('sha256'))[:12]})"],
        ["settings", _changed(facts["settings"] or {})],
        ["size", f"{version.bytes / 1e6:.2f} MB, SHA-256 {version.sha256[:12]}"],
        ["note", version.note or "none"],
    ]
    if version.accuracy is not None:
        low, high = metrics.get("accuracy_interval") or (None, None)
        interval = "" if low is None else f" ({low:.2%} to {high:.2%})"
        rows.append(
            ["accuracy", f"{version.accuracy:.2%}{interval} on {metrics.get('samples')} of {metrics.get('split')}"]
        )
    if metrics.get("worst_class"):
        rows.append(["worst class", f"{metrics['worst_class']['class']}: {metrics['worst_class']['accuracy']:.2%}"])
    print_table(["", ""], rows)
    for move in moves:
        came = "nothing" if move.previous is None else str(move.previous)
        forced = (
            ", FORCED against " + ", ".join(g["gate"] for g in move.gates if not g["passed"]) if move.forced else ""
        )
        note = f" ({move.note})" if move.note else ""
        print(f"{move.at:%Y-%m-%d %H:%M} {move.action}: {move.alias} {came} -> {move.number}{forced}{note}")


def _changed(settings: dict[str, Any]) -> str:
    """Return the training settings that are not the defaults; the document of --json has all."""
    from inksight.config import as_dict
    from inksight.settings import TrainSettings

    if not settings:
        return "unknown"
    defaults = as_dict(TrainSettings()) | {"name": settings.get("name")}
    changed = [f"{name} {value}" for name, value in settings.items() if name in defaults and value != defaults[name]]
    return ", ".join(changed) or "the defaults"

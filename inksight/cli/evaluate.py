"""`inksight evaluate`: how good a model is, with a report."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from inksight.cli.options import ModelArgument, settings_options
from inksight.cli.output import JsonFlag, print_json, print_table, say
from inksight.config import resolve
from inksight.settings import EvaluateSettings


@settings_options(EvaluateSettings, short={"out": "o"})
def evaluate(
    model: ModelArgument,
    json: JsonFlag = False,
    options: dict[str, Any] = {},  # noqa: B006 - filled in by settings_options
    config: Path | None = None,
) -> None:
    """Judge a model on samples it has not seen and write a report: report.html, report.json and PNGs.

    With --compare, a second model answers the same samples and the report says whether they differ.
    """
    settings = resolve(EvaluateSettings, file=config, options=options)
    from inksight.evaluation.run import evaluate as judge_model
    from inksight.evaluation.words import sentences
    from inksight.workspace import workspace

    found = judge_model(
        model,
        settings.data,
        split=settings.split,
        compare=settings.compare,
        threads=settings.threads,
        speed=settings.speed,
        explain=settings.explain,
    )
    m = found.metrics
    name = re.sub(r"[^A-Za-z0-9_.-]+", "-", f"{m['model']['name']}-{m['data']['name']}-{m['split']}")
    page = found.write(settings.out or workspace().home / "reports" / name)
    if json:
        print_json({"report": str(page), **m})
        return
    said = sentences(m)
    print(said["lede"])
    for warning in said["warnings"]:
        say(f"warning: {warning}")
    print_table(["measure", "value", "95 % interval"], _rows(m))
    for text in (said["evenness"], said["calibration"], said["comparison"]):
        if text:
            print(text)
    print(f"report: {page}")


def _rows(m: dict[str, Any]) -> list[list[str]]:
    from inksight.evaluation.words import num, pct, span

    rows = [
        ["accuracy", pct(m["accuracy"]), span(m["accuracy_interval"])],
        ["balanced accuracy", pct(m["balanced_accuracy"]), span(m["balanced_accuracy_interval"])],
        ["macro F1", num(m["macro"]["f1"]), ""],
        ["log loss", num(m["log_loss"]), ""],
        ["calibration error", pct(m["calibration"]["error"]), ""],
        ["best classes", ", ".join(m["best_classes"]), ""],
        ["worst classes", ", ".join(m["worst_classes"]), ""],
    ]
    if len(m["classes"]) > 3:
        rows.insert(1, ["top-3 accuracy", pct(m["top_3"]), span(m["top_3_interval"])])
    speed = m["model"].get("speed")
    if speed:
        rows.append(["one image, ms", num(speed["ms_p50"]), f"p99 {num(speed['ms_p99'])}"])
    return rows

"""`inksight train`: from data to a trained, judged and shippable model."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from inksight.cli.options import between, settings_options
from inksight.cli.output import JsonFlag, print_json
from inksight.config import option_name, type_hints
from inksight.errors import UsageError
from inksight.settings import TrainSettings


@settings_options(TrainSettings)
def train(
    data: Annotated[str, typer.Argument(metavar="DATA", help="A preset's name, a dataset file or a folder.")],
    model: Annotated[
        str | None, typer.Option("--model", "-m", metavar="NAME", help="The model. [default: sketchnet-s]")
    ] = None,
    backbone: Annotated[
        str | None, typer.Option("--backbone", metavar="NAME", help="Pretrained backbone: short for transfer/NAME.")
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option("--option", "-o", metavar="KEY=VALUE", help="An option of the model's own; may be repeated."),
    ] = None,
    run_dir: Annotated[
        Path | None, typer.Option("--run-dir", metavar="PATH", help="The run's folder, instead of one under runs/.")
    ] = None,
    from_study: Annotated[
        str | None, typer.Option("--from-study", metavar="NAME", help="Use what `inksight tune` found best.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a run that was stopped or killed.")] = False,
    workers: Annotated[
        int,
        typer.Option(
            "--workers", callback=between(1, 64), help="Processes on this machine, at most 64, that train together."
        ),
    ] = 1,
    as_json: JsonFlag = False,
    options: dict[str, Any] = {},  # noqa: B006  (filled in by settings_options)
    config: Path | None = None,
) -> None:
    """Train a model, judge it on the test split and save it as a bundle.

    What DATA needs is fetched and prepared first. Several machines: torchrun ... -m inksight train (docs/scale.md).
    """
    if workers > 1 and "WORLD_SIZE" not in os.environ:
        from inksight.training.launch import launch

        raise typer.Exit(launch(workers, sys.argv[1:]))
    model = _model_name(model, backbone)
    model_options = _key_values(option or [])
    if from_study:
        from inksight.tuning import best_trial

        best = best_trial(from_study)
        model = model or best.model
        if model != best.model:
            raise UsageError(
                f"--model {model!r}: study {from_study!r} is about {best.model}", hint="Leave --model out."
            )
        options = {**best.settings, **options}
        model_options = {**best.options, **model_options}
    from inksight.training import TrainingInterrupted
    from inksight.training import train as run_training

    try:
        run = run_training(
            data, model=model, run_dir=run_dir, resume=resume, config=config, model_options=model_options, **options
        )
    except TrainingInterrupted as stop:
        if os.environ.get("RANK", "0") != "0":
            raise typer.Exit(130) from None  # torchrun starts several processes on one terminal; the first one tells
        raise KeyboardInterrupt(how_to_go_on(data, stop.folder, config, options)) from None
    if not run.leads:
        return
    if as_json:
        print_json({"folder": run.folder, "bundle": run.bundle, "metrics": run.metrics, "history": run.history})
        return
    if run.metrics:
        low, high = run.metrics["accuracy_interval"]
        print(
            f"accuracy {run.metrics['accuracy']:.1%} ({low:.1%} to {high:.1%}) on {run.metrics['samples']:,} images of"
            f" the {run.metrics['split']} split; balanced {run.metrics['balanced_accuracy']:.1%}"
        )
    else:
        print("not judged: the data has neither a test nor a validation split")
    print(f"bundle   {run.bundle}")
    if run.metrics:
        print(f"report   {run.folder / 'report' / 'report.html'}")
    bundle = shlex.quote(str(run.bundle))
    print(f"next     inksight serve {bundle}")
    print(f"         inksight predict {bundle} FILE...")


def how_to_go_on(data: str, folder: str, config: Path | None = None, options: Mapping[str, Any] | None = None) -> str:
    """Return the command that resumes a stopped training, as a sentence.

    The run knows its settings. The file is needed to find the same data again; then so are the `options` that may
    stand against what it says of training.
    """
    words = ["inksight", "train", data, "--run-dir", folder, "--resume"]
    if config is not None:
        words += ["--config", str(config)]
        hints = type_hints(TrainSettings)
        for name, value in (options or {}).items():
            if hints[name] is bool:
                words.append(option_name(name if value else f"no_{name}"))
            else:
                words += [option_name(name), str(value)]
    return f"Go on with: {shlex.join(words)}"


def _model_name(model: str | None, backbone: str | None) -> str | None:
    """Return the model that --model and --backbone name together."""
    if backbone is None:
        return model
    if model not in (None, "transfer"):
        raise UsageError(f"--backbone {backbone!r} contradicts --model {model!r}", hint="Give one of the two.")
    return f"transfer/{backbone}"


def _key_values(pairs: list[str]) -> dict[str, str]:
    """Return KEY=VALUE texts as a dict."""
    parsed = [pair.partition("=") for pair in pairs]
    for key, sign, _ in parsed:
        if not sign or not key:
            raise UsageError(f"--option {key!r} is not KEY=VALUE", hint="For example: --option attention=cbam")
    return {key.replace("-", "_"): value for key, _, value in parsed}

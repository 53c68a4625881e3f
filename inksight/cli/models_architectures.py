"""`inksight models architectures`: what can be trained, how large it is and how fast it answers here."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer

from inksight.cli.options import between
from inksight.cli.output import JsonFlag, print_json, print_table

_SECONDS = 0.5  # spent timing each architecture


def architectures(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Only these; default: all.")] = None,
    classes: Annotated[int, typer.Option(help="Classes to count the parameters for.", callback=between(1))] = 20,
    measure: Annotated[bool, typer.Option(help="Build each and time it; without, only names are listed.")] = True,
    json: JsonFlag = False,
) -> None:
    """List the architectures with parameters, input size and speed.

    Speed is the median time of one image through PyTorch on one thread of this machine; a bundle's ONNX is faster.
    """
    from inksight import models

    found = [_describe(name, classes, measure) for name in names or models.names()]
    if json:
        print_json(found)
        return
    rows = [
        [
            each["name"],
            each["family"],
            (f"{each['parameters']:,}" if each["parameters"] else "from data") if measure else "",
            each["input"],
            f"{each['milliseconds']:.2f}" if measure else "",
            each["summary"],
        ]
        for each in found
    ]
    print_table(["name", "family", "parameters", "input", "ms/image", "what"], rows)


def _describe(name: str, classes: int, measure: bool) -> dict[str, Any]:
    from inksight import models

    spec = models.get(name, option="")
    # 28x28 drawings where the model takes any size; photos where it wants colour.
    image = (28, 28) if spec.channels in (None, 1) else (*(spec.input_size or (64, 64)), 3)
    channels, height, width = models.input_shape(spec, image)
    entry: dict[str, Any] = {
        "name": name,
        "family": spec.family,
        "summary": spec.summary,
        "input": f"{height}x{width}x{channels}",
        "parameters": None,
        "milliseconds": None,
    }
    if measure:
        # Neither size nor speed depends on the weights, and pretrained ones may need a download.
        untrained = {"pretrained": False} if "pretrained" in spec.options else {}
        module = models.create(name, num_classes=classes, image_shape=image, **untrained).eval()
        # What a classical model holds is up to the images that it will be fitted to.
        entry["parameters"] = None if spec.family == "shallow" else models.parameter_count(module)
        entry["milliseconds"] = _milliseconds(module, (1, channels, height, width))
    return entry


def _milliseconds(module: Any, shape: tuple[int, ...]) -> float:
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.inference_mode():
            image = torch.zeros(shape)
            module(image)
            times: list[float] = []
            while sum(times) < _SECONDS and len(times) < 500:
                begin = time.perf_counter()
                module(image)
                times.append(time.perf_counter() - begin)
    finally:
        torch.set_num_threads(threads)
    return sorted(times)[len(times) // 2] * 1000

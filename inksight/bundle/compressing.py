"""A smaller bundle from a bundle: channels pruned, numbers quantised, or both; and what it costs, measured.

The new bundle is written only when accuracy on the validation images stays within the allowed drop. Its metrics are
measured anew on the test images; its description names the bundle it comes from and every step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from inksight.bundle.classifier import Classifier
from inksight.bundle.comparing import answer_change, check_classes, speed_change
from inksight.bundle.exporting import training_images
from inksight.bundle.parity import batched, spread
from inksight.bundle.pruning import distill, prune
from inksight.bundle.quantizing import to_float16, to_int8
from inksight.bundle.saving import save
from inksight.data.dataset import Dataset
from inksight.errors import ConflictError, GateError, UsageError
from inksight.settings import CompressSettings

_TIMED = 256


def compress(
    model: Classifier,
    out: str | Path,
    data: Dataset,
    settings: CompressSettings | None = None,
    *,
    force: bool = False,
    progress: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Write a smaller bundle to `out` and return a report: sizes, parameters, accuracy and speed before and after.

    `data` is the dataset the model was trained on: training images to learn and calibrate from, validation images to
    compare on, test images for the new bundle's metrics. `progress` gets a line per step.
    Raises UsageError when there is nothing to do or the data do not fit, GateError when accuracy drops too far,
    BundleError when the architecture cannot be pruned, ConflictError when `out` is the model itself, or exists and not
    `force`. Nothing is written then.
    """
    settings = settings or CompressSettings()
    target = Path(out)
    if target.resolve() == model.folder.resolve():
        raise ConflictError(f"{str(target)!r} is the model itself", hint="Choose another folder with --out.")
    if target.exists() and not force:
        raise ConflictError(
            f"{str(target)!r} exists", hint="Choose another folder with --out, or --force to replace the bundle there."
        )
    if not settings.prune and settings.quantize == "none":
        raise UsageError("nothing to do", hint="Give --prune SHARE, --quantize int8 or float16, or both.")
    check_classes(model, data)
    if not data.size("train") or not data.size("val"):
        raise UsageError(f"the dataset {data.name!r} has no training or no validation images", hint="Both are needed.")
    network = model.network()
    steps: list[dict[str, Any]] = []
    if settings.prune:
        whole = _count(network.model)
        network = prune(network, settings.prune)
        # At least: the channels that stay are a multiple of four.
        left = f"{_count(network.model):,} of {whole:,} parameters left"
        summary = f"at least {settings.prune:.0%} of the channels removed, {left}"
        progress(summary)
        if settings.epochs:
            images = spread(data.images("train"), settings.max_images)
            distill(
                network,
                images,
                batched(model.predict_proba, images),
                epochs=settings.epochs,
                learning_rate=settings.learning_rate,
                seed=settings.seed,
                progress=lambda epoch, loss: progress(f"epoch {epoch} of {settings.epochs}: divergence {loss:.4f}"),
            )
            summary += f"; {settings.epochs} epochs on the answers of the original to {len(images):,} training images"
        steps.append({"step": "prune", "share": settings.prune, "summary": summary})
    convert = _converter(model, data, settings.quantize)
    if convert is not None:
        steps.append({"step": "quantize", "precision": settings.quantize, "summary": f"{settings.quantize} numbers"})

    report: dict[str, Any] = {"from": model.name, "path": str(out), "steps": steps}

    def judge(made: Classifier) -> dict[str, Any]:
        change = answer_change(model.predict_proba, made.predict_proba, model, data)
        if change["difference"] < -settings.max_drop:
            raise GateError(
                f"refused: accuracy on {change['samples']:,} {change['split']} images falls from "
                f"{change['accuracy_before']:.4f} to {change['accuracy']:.4f}, more than {settings.max_drop:g}",
                hint="Prune less, learn longer (--epochs), or allow more with --max-drop.",
            )
        report["change"] = change
        timed = spread(data.images("val"), _TIMED)
        report["speed"] = speed_change({"before": model.predict_proba, "after": made.predict_proba}, timed)
        return _metrics(made, data)

    description = model.description
    save(
        out,
        network.model,
        architecture=description["architecture"],
        classes=model.classes,
        preprocessing=description["preprocessing"] | {"kind": model.kind},
        name=f"{model.name}-small",
        dataset=description.get("dataset"),
        settings=description.get("settings"),
        provenance=description.get("provenance", {}) | {"made_from": model.name, "made_from_sha256": _sha256(model)},
        limits=description.get("limits", ()),
        derived=[*description.get("derived", []), *steps],
        samples=data.images("val"),
        precision="float32" if convert is None else settings.quantize,
        convert=convert,
        judge=judge,
    )
    made = {"bytes": Path(out, "model.onnx").stat().st_size, "parameters": _count(network.model)}
    before = {"bytes": description["files"]["model.onnx"]["bytes"], "parameters": _count(model.module())}
    return report | {"before": before, "after": made}


def _converter(model: Classifier, data: Dataset, quantize: str) -> Callable[[bytes, Mapping[str, Any]], bytes] | None:
    if quantize == "int8":
        images = training_images(model, data)
        return lambda graph, description: to_int8(graph, description, images)
    return to_float16 if quantize == "float16" else None


def _metrics(made: Classifier, data: Dataset) -> dict[str, Any]:
    from inksight.evaluation.judging import judge

    split = "test" if data.size("test") else "val"
    images, truth = data.load(split)
    return judge(truth, batched(made.predict_proba, images), made.classes, split=split).summary


def _sha256(model: Classifier) -> str:
    return str(model.description["files"]["model.onnx"]["sha256"])


def _count(module: Any) -> int:
    return sum(parameter.numel() for parameter in module.parameters())

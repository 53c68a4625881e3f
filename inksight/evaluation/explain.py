"""Why this answer? Where in a picture the model looked, and which strokes of a drawing mattered.

    seen = explain(inksight.load("doodles"), "cat.png")
    seen.label, seen.heat                  # what spoke for the answer: float32 (H, W), 0..1
    seen.save("explained.png")

    strokes = explain_strokes(model, drawing)
    strokes.importance                     # per stroke: how much the answer loses without it, in nats of log odds

Grad-CAM for networks with convolutions (gradcam.py), occlusion (Zeiler and Fergus 2014) for the rest, and for drawings
whose last maps are smaller than 7x7. Both say what moved this model's answer, not what is true of the picture, and
neither shows how parts act together.

Occlusion takes some 15 ms for a drawing, Grad-CAM 1 ms. When the fifth of the ink that is marked hottest is erased, the
answer of sketchnet-s loses 0.69 +- 0.02 of its probability for occlusion, 0.30 +- 0.02 for Grad-CAM, and 0.10 +- 0.01
for ink picked at random (200 digits; benchmarks/explanations.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from inksight.errors import UsageError, unknown

if TYPE_CHECKING:
    from inksight.bundle import Classifier

METHODS = ("auto", "grad-cam", "occlusion")

# Side of the covered square and the step between squares, as parts of the picture's side. 1/5 hides a wheel or an ear.
_PATCH, _STEP = 1 / 5, 1 / 14
_STROKES = 500
# Last maps of a drawing that are smaller, as sketchnet's 3x3, mark most of the paper.
_FINE = 7

Images = npt.NDArray[np.uint8]
Heat = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Explanation:
    """What spoke for `label` in `image`, uint8 (H, W[, 3]): `heat` float32 (H, W), 0 nothing to 1 most."""

    label: str
    probability: float
    method: str
    image: Images
    heat: Heat

    def picture(self, side: int = 224) -> Images:
        """Return the image with the heat in red over it, uint8 (side, side, 3)."""
        from inksight.evaluation.overlay import heat_over_image

        return heat_over_image(self.image, self.heat, side)

    def save(self, path: str | Path, side: int = 448) -> Path:
        """Write the picture as a PNG file and return its path."""
        return _save(self.picture(side), Path(path))


@dataclass(frozen=True)
class StrokeExplanation:
    """Which strokes spoke for `label`.

    `without` is the label's probability when a stroke is left out, float64 (S,); `importance` the log odds it loses by
    that, in nats, float64 (S,): above 0 the stroke spoke for the label, below 0 against it.
    """

    label: str
    probability: float
    without: npt.NDArray[np.float64]
    importance: npt.NDArray[np.float64]
    strokes: Sequence[Any]

    def picture(self, side: int = 224) -> Images:
        """Return the drawing with the strokes that mattered in red, uint8 (side, side, 3)."""
        from inksight.evaluation.overlay import coloured_strokes

        return coloured_strokes(self.strokes, self.importance, side)

    def save(self, path: str | Path, side: int = 448) -> Path:
        """Write the picture as a PNG file and return its path."""
        return _save(self.picture(side), Path(path))


def explain(classifier: Classifier, image: Any, *, label: str | None = None, method: str = "auto") -> Explanation:
    """Explain one image: an array uint8 (H, W[, 3]), a PIL image or a path; `label` defaults to the answer.

    `method`: "grad-cam" (needs convolutions), "occlusion" (any model; about 200 predictions), or "auto", which prefers
    the first where its maps are fine enough. Raises NotFoundError for a label the model does not know, UsageError for
    grad-cam on a model without convolutions.
    """
    from inksight.bundle.inputs import to_input

    pixels = to_input(image, classifier.description)
    return explain_many(classifier, pixels[None], labels=None if label is None else [label], method=method)[0]


def explain_many(
    classifier: Classifier, images: Images, *, labels: Sequence[str] | None = None, method: str = "auto"
) -> list[Explanation]:
    """Explain images of the model's own shape, uint8 (N, H, W[, 3]); see `explain`."""
    if method not in METHODS:
        raise unknown("method", method, METHODS)
    probabilities = classifier.predict_proba(images)
    targets = _targets(classifier, probabilities, labels)
    heat, used = None, "grad-cam"
    if method != "occlusion":
        from inksight.evaluation.gradcam import gradient_maps

        # On drawings occlusion is cheap and points better than a blurred map; on photos it takes seconds.
        smallest = _FINE if method == "auto" and images.ndim == 3 else 3
        heat = gradient_maps(classifier.network(), images, targets, smallest=smallest)
        if heat is None and method == "grad-cam":
            raise UsageError(
                f"{classifier.name!r} has no convolutional maps to look at, or too small ones", hint="Use occlusion."
            )
    if heat is None:
        used = "occlusion"
        heat = np.stack([occlusion(classifier, image, int(t)) for image, t in zip(images, targets, strict=True)])
    return [
        Explanation(classifier.classes[t], float(row[t]), used, image, one)
        for t, row, image, one in zip(targets, probabilities, images, heat, strict=True)
    ]


def explain_file(classifier: Classifier, path: str | Path) -> Explanation | StrokeExplanation:
    """Explain the answer for a file: a picture, a .npy's first bitmap, or the strokes of JSON's first line."""
    from inksight.bundle.inputs import read_file
    from inksight.drawing import parse

    if Path(path).suffix.lower() == ".npy":
        bitmap = np.load(path, allow_pickle=False).reshape(-1, *classifier.image_shape)
        return explain(classifier, bitmap[0])
    if Path(path).suffix.lower() not in (".json", ".ndjson", ".jsonl"):
        return explain(classifier, path)
    text = read_file(Path(path))
    return explain_strokes(classifier, parse(text.split(b"\n")[0] if text.count(b"\n{") else text))


def explain_files(classifier: Classifier, paths: Sequence[str], target: Path, answers: int = 1) -> Path:
    """Write the explanation of one file's answer as a PNG file; raises UsageError for folders and several files.

    `answers` is how many there were: a file of several drawings or bitmaps is refused too.
    """
    if len(paths) != 1 or answers != 1 or not Path(paths[0]).is_file():
        raise UsageError(
            "--explain needs exactly one picture or drawing", hint="Name one file with one of them, no folder."
        )
    return explain_file(classifier, paths[0]).save(target)


def occlusion(classifier: Classifier, image: Images, target: int) -> Heat:
    """Return how much the log odds of class `target` fall where a square covers the image: float32 (H, W), 0..1.

    Drawings are covered with paper, photos with their mean colour. Each pixel has the mean fall of the squares over it;
    rises count as 0.
    """
    high, wide = image.shape[:2]
    cover = np.zeros(image.shape[2:], np.uint8) if image.ndim == 2 else image.mean(axis=(0, 1)).astype(np.uint8)
    side_y, side_x = max(2, round(high * _PATCH)), max(2, round(wide * _PATCH))
    tops = np.arange(-side_y + 1, high, max(1, round(high * _STEP)))
    lefts = np.arange(-side_x + 1, wide, max(1, round(wide * _STEP)))
    squares = [
        (slice(max(0, y), y + side_y), slice(max(0, x), x + side_x))
        for y in tops
        for x in lefts
        if image.ndim == 3 or image[max(0, y) : y + side_y, max(0, x) : x + side_x].any()
    ]
    before = _log_odds(classifier.predict_proba(image[None])[:, target])[0]
    total, covered = np.zeros((high, wide)), np.zeros((high, wide))
    # 64 squares at a time: a photo of 256 px takes 13 MB then.
    for start in range(0, len(squares), 64):
        part = squares[start : start + 64]
        hidden = np.repeat(image[None], len(part), axis=0)
        for picture, square in zip(hidden, part, strict=True):
            picture[square] = cover
        fall = before - _log_odds(classifier.predict_proba(hidden)[:, target])
        for square, value in zip(part, fall, strict=True):
            total[square] += value
            covered[square] += 1
    heat = np.maximum(np.divide(total, covered, out=np.zeros_like(total), where=covered > 0), 0)
    return (heat / max(float(heat.max()), 1e-9)).astype(np.float32)


def explain_strokes(classifier: Classifier, strokes: Any, *, label: str | None = None) -> StrokeExplanation:
    """Explain one drawing, given as strokes [[xs, ys], ...], by leaving out each stroke in turn, in one batch.

    The other strokes stay where they are. Raw strokes are simplified first. Raises DrawingError for strokes that
    cannot be read, UsageError for a model of photos or a drawing of more than 500 strokes.
    """
    from inksight.drawing import is_simplified, simplify, validate
    from inksight.drawing.render import render_layers

    if classifier.kind != "drawing":
        raise UsageError(f"the model {classifier.name!r} takes photos, not strokes", hint="Use explain.")
    drawing = validate(strokes)
    if len(drawing) > _STROKES:
        raise UsageError(f"{len(drawing)} strokes are too many to leave out one by one", hint=f"At most {_STROKES}.")
    ready = drawing if is_simplified(drawing) else simplify(drawing)
    clear = 1 - render_layers(ready, size=classifier.image_shape[0]) / 255
    images = np.stack([_ink(clear, classifier), *(_ink(np.delete(clear, i, 0), classifier) for i in range(len(clear)))])
    probabilities = classifier.predict_proba(images)
    target = int(_targets(classifier, probabilities[:1], None if label is None else [label])[0])
    chances = probabilities[:, target].astype(float)
    odds = _log_odds(chances)
    return StrokeExplanation(classifier.classes[target], float(chances[0]), chances[1:], odds[0] - odds[1:], ready)


def _ink(clear: npt.NDArray[np.float64], classifier: Classifier) -> Images:
    """Return the picture of painted layers, given how much paper each leaves, as the model takes it."""
    from inksight.bundle.inputs import fit_drawings

    bitmap = np.rint(255 * (1 - clear.prod(axis=0))).astype(np.uint8)
    image: Images = fit_drawings(bitmap[None], classifier.image_shape)[0]
    return image


def _targets(
    classifier: Classifier, probabilities: npt.NDArray[np.float32], labels: Sequence[str] | None
) -> npt.NDArray[np.int64]:
    if labels is None:
        best: npt.NDArray[np.int64] = probabilities.argmax(axis=1)
        return best
    for label in labels:
        if label not in classifier.classes:
            raise unknown("class", label, classifier.classes)
    return np.array([classifier.classes.index(label) for label in labels], np.int64)


def _log_odds(probability: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    # float32 probabilities end at 1 - 6e-8; beyond 1e-6 from certainty, differences are noise.
    kept = np.clip(probability.astype(float), 1e-6, 1 - 1e-6)
    odds: npt.NDArray[np.float64] = np.log(kept / (1 - kept))
    return odds


def _save(picture: Images, path: Path) -> Path:
    from PIL import Image

    from inksight.workspace import atomic_path

    with atomic_path(path) as temporary:
        Image.fromarray(picture).save(temporary, "PNG")
    return path

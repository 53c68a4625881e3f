"""From what a client sent to an answer: strokes or a picture in, ranked labels out.

Strokes are simplified and drawn by the renderer that drew the training data; drawings that arrive together are drawn
and judged together (batching.py). Pictures are decoded in threads, for which as many may wait as for a model. An
answer is `unsure` when the canvas is blank, holds a single dot, or the best probability is low.

Not guaranteed: that a confident answer is right, or that a scribble of no class is called unsure.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar
from weakref import WeakKeyDictionary, proxy

import numpy as np
import numpy.typing as npt

from inksight import drawing
from inksight.bundle.inputs import fit_drawings, to_images
from inksight.errors import DrawingError
from inksight.serving.batching import Batcher
from inksight.serving.errors import BusyError
from inksight.serving.inputs import Blank, Picture, Source, StrokeInput
from inksight.serving.live import LiveModel, LiveModels
from inksight.serving.pictures import is_simple, open_picture
from inksight.settings import ServeSettings

INLINE_SECONDS = 0.001
"""A model faster than this runs in the event loop: handing over to a thread and back costs about 0.1 ms."""

LONG_DRAWING = 2_000
"""Points from which simplifying a drawing is left to a thread, so that it does not hold up the other requests."""

Image = npt.NDArray[np.uint8]
T = TypeVar("T")


@dataclass(slots=True)
class Answer:
    """What the model said about one input: probabilities are float32 `(C,)`, `image` is what the model saw."""

    id: str
    model: LiveModel
    probabilities: npt.NDArray[np.float32]
    unsure: bool
    kind: str
    image: Image
    source: Source

    def ranked(self, top: int) -> list[tuple[str, float]]:
        """Return the `top` labels with their probabilities, best first."""
        order = np.argsort(-self.probabilities, kind="stable")[:top]
        classes = self.model.classes
        return [(classes[index], round(float(self.probabilities[index]), 6)) for index in order]

    @property
    def input_hash(self) -> str:
        """The SHA-256 of the image that the model saw."""
        return hashlib.sha256(self.image.tobytes()).hexdigest()


def new_id() -> str:
    """Return an id that sorts by time: 48 bits of milliseconds, then 64 random ones, in hexadecimal."""
    return f"{time.time_ns() // 1_000_000:012x}{secrets.token_hex(8)}"


class Predictor:
    """Answers inputs with the live models; used from one event loop."""

    def __init__(
        self, models: LiveModels, settings: ServeSettings, *, on_batch: Callable[[int], None] | None = None
    ) -> None:
        self.models = models
        self._settings = settings
        self._on_batch = on_batch
        # A queue goes with its model: whoever answers with that, or waits for its answer, holds it.
        self._batchers: WeakKeyDictionary[LiveModel, Batcher[StrokeInput | Image, tuple[Image, Any]]] = (
            WeakKeyDictionary()
        )
        # Two threads: decoding is CPU work, and more of it at once would only starve the event loop.
        self._readers = ThreadPoolExecutor(2, thread_name_prefix="read")
        self._reading = 0
        self._runners = ThreadPoolExecutor(2, thread_name_prefix="model")

    async def answer(self, source: Source, model: LiveModel) -> Answer:
        """Judge one input; raises DrawingError, TooLargeError or BusyError."""
        item = await self._prepare(source, model)
        image, probabilities = await self._batcher(model).submit(item)
        nothing = drawing.shows_nothing(image) if model.draws else not image.any()
        unsure = nothing or bool(probabilities.max() < self._settings.unsure_below)
        return Answer(new_id(), model, probabilities, unsure, source.kind, image, source)

    async def judge_image(self, image: Image, model: LiveModel) -> npt.NDArray[np.float32]:
        """Return a model's probabilities, float32 `(C,)`, for an image that another model has judged."""
        _, probabilities = await self._batcher(model).submit(image)
        return np.asarray(probabilities)

    def close(self) -> None:
        """Let running work finish and stop the threads."""
        self._readers.shutdown(wait=True)
        self._runners.shutdown(wait=True)

    async def _prepare(self, source: Source, model: LiveModel) -> StrokeInput | Image:
        if isinstance(source, Picture):
            read = partial(read_picture, source.data, model, self._settings.max_pixels)
            if model.draws and is_simple(source.data):
                return read()
            return await self._in_reader(read)
        if not model.draws:
            raise DrawingError(f"model {model.name!r} judges photos, not strokes", hint='Send {"image": ...}.')
        if isinstance(source, Blank):
            return np.zeros(model.input_shape, np.uint8)
        # A short one waits for its batch, which is simplified in one go.
        return await self.simplified(source) if source.points > LONG_DRAWING else source

    async def simplified(self, source: StrokeInput) -> StrokeInput:
        """Return strokes as the renderer takes them; a long drawing is left to a thread."""
        if source.simplified:
            return source
        if source.points > LONG_DRAWING:
            strokes = await self._in_reader(partial(drawing.simplify, source.strokes))
        else:
            strokes = drawing.simplify(source.strokes)
        return StrokeInput(strokes, sum(len(stroke[0]) for stroke in strokes), True)

    async def _in_reader(self, work: Callable[[], T]) -> T:
        """Read in a thread; raises BusyError when as many inputs, each of up to a body's size, are being read."""
        if self._reading >= self._settings.queue_limit:
            raise BusyError(f"{self._reading} inputs are being read already", hint="Try again in a moment.")
        self._reading += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._readers, work)
        finally:
            self._reading -= 1

    def _batcher(self, model: LiveModel) -> Batcher[StrokeInput | Image, tuple[Image, Any]]:
        batcher = self._batchers.get(model)
        if batcher is None:
            batcher = self._batchers[model] = Batcher(
                partial(run_batch, proxy(model)),
                size=self._settings.batch_size,
                limit=self._settings.queue_limit,
                executor=None if model.seconds < INLINE_SECONDS else self._runners,
                on_batch=self._on_batch,
            )
        return batcher


def read_picture(data: bytes, model: LiveModel, max_pixels: int) -> Image:
    """Decode a picture and make it the model's input: a bitmap for drawings, a square of colours for photos."""
    picture = open_picture(data, max_pixels=max_pixels)
    if model.draws:
        images = fit_drawings(drawing.from_picture(picture)[None], model.input_shape)
    else:
        images = to_images([picture], model.classifier.description)
    image: Image = images[0]
    return image


def run_batch(model: LiveModel, items: Sequence[StrokeInput | Image]) -> list[tuple[Image, npt.NDArray[np.float32]]]:
    """Simplify and draw what is still strokes, all in one go, and judge everything in one run of the model."""
    images = np.empty((len(items), *model.input_shape), np.uint8)
    drawings: list[drawing.Strokes] = []
    places: list[int] = []
    raw: list[int] = []
    for index, item in enumerate(items):
        if isinstance(item, np.ndarray):
            images[index] = item
            continue
        if not item.simplified:
            raw.append(len(drawings))
        drawings.append(item.strokes)
        places.append(index)
    if raw:
        for index, strokes in zip(raw, drawing.simplify_many([drawings[index] for index in raw]), strict=True):
            drawings[index] = strokes
    if drawings:
        images[places] = fit_drawings(drawing.render_many(drawings, size=model.input_shape[0]), model.input_shape)
    probabilities = model.classifier.predict_proba(images)
    return [(images[index], probabilities[index]) for index in range(len(items))]

"""Kept inputs: what the service stored of a drawing or a picture, read a few at a time, and as the model saw it."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from sqlalchemy import select

from inksight.errors import DataError, DrawingError
from inksight.registry.database import Database
from inksight.registry.tables import Prediction

Image = npt.NDArray[np.uint8]

PAGE = 50
"""Inputs that are read at once: that of a photo takes 0.2 MB, several times over on its way from the database."""


def read_inputs(database: Database, ids: Sequence[str]) -> Iterator[dict[str, Any] | None]:
    """Yield the kept input of each of these logged answers, or None; PAGE of them are in memory at a time."""
    for start in range(0, len(ids), PAGE):
        part = ids[start : start + PAGE]
        query = select(Prediction.id, Prediction.input).where(Prediction.id.in_(part))
        with database.read() as session:
            found = {row.id: row.input for row in session.execute(query)}
        yield from (found.get(number) for number in part)


def image_of(kept: Mapping[str, Any], image_shape: tuple[int, ...]) -> Image:
    """Return a kept input as the model saw it, uint8 `image_shape`: strokes are drawn, pictures are unpacked.

    Strokes that came simplified are drawn as they are: simplified again, nearly every drawing would be another one. Of
    a lone dot the model saw a blank sheet.

    Raises DataError when it cannot be read or is of another shape.
    """
    from inksight import drawing
    from inksight.bundle.inputs import fit_drawings

    try:
        if "strokes" not in kept:
            pixels = np.frombuffer(base64.b64decode(kept["image"], validate=True), np.uint8)
            image: Image = pixels.reshape(kept["shape"])
        elif strokes := kept["strokes"]:
            ready = strokes if drawing.is_simplified(strokes) else drawing.simplify(strokes)
            image = fit_drawings(drawing.render_many([ready], size=image_shape[0]), image_shape)[0]
            if drawing.is_dot(strokes):
                image = np.zeros_like(image)
        else:
            image = np.zeros(image_shape, np.uint8)
    except (binascii.Error, ValueError, LookupError, TypeError, DrawingError) as error:
        raise DataError(f"a kept input cannot be read: {error}") from None
    if image.shape != tuple(image_shape):
        raise DataError(f"a kept input has the shape {image.shape}, the model takes {tuple(image_shape)}")
    return image

"""Requests read by hand: a drawing is thousands of nested numbers, which a general validator checks too slowly.

orjson parses the body, the drawing room's checks follow; the OpenAPI document describes the same shapes (schemas.py).
A body is JSON (`strokes` or `image`) or a multipart form with the picture as `file`. `model` and `top` are fields of
either, or parameters of the address.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import orjson
from fastapi import Request
from starlette.datastructures import FormData, UploadFile

from inksight.drawing.strokes import MAX_COORDINATE, MAX_POINTS, fills_box, is_dot, validate
from inksight.errors import UsageError
from inksight.serving.errors import MediaTypeError, TooLargeError
from inksight.serving.pictures import from_data_url

Numbers = npt.NDArray[Any]
T = TypeVar("T")

_SHAPE = 'Send {"strokes": [[[x, ...], [y, ...]], ...]} or {"image": "data:image/png;base64,..."}.'


@dataclass(slots=True, frozen=True)
class StrokeInput:
    """Checked strokes, `[[xs, ys], ...]`, how many points they have, and whether they are simplified already.

    See `drawing.is_simplified` for which are.
    """

    strokes: list[Any]
    points: int
    simplified: bool
    kind = "strokes"


@dataclass(slots=True, frozen=True)
class Blank:
    """Strokes that show nothing yet: none at all, or a single dot."""

    strokes: list[Any]
    kind = "strokes"


@dataclass(slots=True, frozen=True)
class Picture:
    """The bytes of a picture file, not yet decoded."""

    data: bytes
    filename: str = ""
    from_form: bool = False
    kind = "image"


Source = StrokeInput | Blank | Picture


@dataclass(slots=True, frozen=True)
class Inputs:
    """What one request asks: inputs (of a batch: or why one cannot be read), the model's name, how many labels."""

    sources: list[Source | UsageError]
    model: str | None
    top: int | None


async def read_one(request: Request) -> Inputs:
    """Read a request for one prediction; raises UsageError with the expected shape."""
    if _media_type(request) == "multipart/form-data":
        async with read_form(request, files=1) as form:
            return _asked(request, [await _uploaded(form)], form)
    body = await read_json(request)
    return _asked(request, [_source(body)], body)


async def read_many(request: Request, limit: int) -> Inputs:
    """Read a request for several predictions: `inputs` in JSON, or several files named `file`."""
    if _media_type(request) == "multipart/form-data":
        async with read_form(request, files=limit) as form:
            files = [part for part in form.getlist("file") if isinstance(part, UploadFile)]
            if not files:
                raise UsageError('the form has no part "file"', hint="Send one part named file per picture.")
            sources: list[Source | UsageError] = [
                Picture(await part.read(), part.filename or "", True) for part in files
            ]
            return _asked(request, sources, form)
    body = await read_json(request)
    items = body.get("inputs")
    if not isinstance(items, list) or not items:
        raise UsageError('"inputs" must be a list with at least one item', hint='Each item: {"strokes"} or {"image"}.')
    if len(items) > limit:
        raise TooLargeError(f"{len(items)} inputs in one request", hint=f"At most {limit}.")
    return _asked(request, [_source_or_error(item) for item in items], body)


def _asked(request: Request, sources: list[Source | UsageError], fields: Mapping[str, Any]) -> Inputs:
    model, top = _text(fields.get("model")), _whole(fields.get("top"))
    if request.scope["query_string"]:
        for name, value in request.query_params.multi_items():
            if name == "model":
                model = _agreed(name, model, _text(value))
            elif name == "top":
                top = _agreed(name, top, _whole(value))
            else:
                raise UsageError(f"unknown parameter {name!r} in the address", hint="Choose one of: model, top")
    return Inputs(sources, model, top)


def _agreed(name: str, one: T | None, other: T | None) -> T | None:
    if one is not None and other is not None and one != other:
        raise UsageError(f'"{name}" is both {one!r} and {other!r}', hint="Say it once, in the body or in the address.")
    return one if other is None else other


async def read_json(request: Request) -> dict[str, Any]:
    """Read a JSON object; raises MediaTypeError for another kind of body and UsageError for broken JSON."""
    media_type = _media_type(request)
    if media_type != "application/json" and not media_type.endswith("+json"):
        raise MediaTypeError(
            f"the content type is {media_type or 'missing'}", hint="Send Content-Type: application/json."
        )
    body = await request.body()
    try:
        # Here even where it is large: orjson keeps the interpreter to itself, so that a thread would hold up the other
        # requests as long, and it would have to wait for one while the database hangs.
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise UsageError(f"the body is not JSON: {error}", hint=_SHAPE) from None
    if not isinstance(value, dict):
        raise UsageError("the body is not a JSON object", hint=_SHAPE)
    return value


def read_form(request: Request, *, files: int) -> AbstractAsyncContextManager[FormData]:
    """Read a multipart form with at most `files` files; a context manager that closes them."""
    if "boundary=" not in request.headers.get("content-type", ""):
        raise UsageError("the multipart form has no boundary", hint="Let the HTTP client set the content type.")
    return request.form(max_files=files, max_fields=16)


def _media_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def _uploaded(form: FormData) -> Picture:
    part = form.get("file")
    if not isinstance(part, UploadFile):
        raise UsageError('the form has no part "file"', hint="Send the picture as a part named file.")
    return Picture(await part.read(), part.filename or "", True)


def _source_or_error(item: object) -> Source | UsageError:
    try:
        return _source(item)
    except UsageError as error:
        return error


def _source(item: object) -> Source:
    if not isinstance(item, dict):
        raise UsageError("the input is not a JSON object", hint=_SHAPE)
    if ("strokes" in item) == ("image" in item):
        raise UsageError('exactly one of "strokes" and "image" is needed', hint=_SHAPE)
    if "image" in item:
        if not isinstance(item["image"], str):
            raise UsageError('"image" must be text', hint=_SHAPE)
        return Picture(from_data_url(item["image"]))
    return read_strokes(item["strokes"])


def read_strokes(value: object) -> StrokeInput | Blank:
    """Check strokes; none, and a single dot, are a blank canvas. Raises DrawingError."""
    if isinstance(value, list):
        # A pen that was put down but never moved may leave an empty stroke behind.
        value = [stroke for stroke in value if stroke not in ([[], []], [[], [], []])]
        if not value:
            return Blank([])
    x, y = _arrays(value)
    if not isinstance(value, list) or len(x) > MAX_POINTS or not _within(x) or not _within(y):
        strokes = validate(value)
        x, y = _arrays(strokes)
    else:
        strokes = value
    if is_dot(strokes):
        return Blank(strokes)
    return StrokeInput(strokes, len(x), fills_box(x, y))


def _arrays(strokes: Any) -> tuple[Numbers, Numbers]:
    """Return all xs and all ys end to end, or two empty arrays for anything that is not simply lists of numbers.

    A quick look that finds nothing wrong in 10 us; `validate` takes ten times as long and says what is wrong.
    """
    nothing = np.empty(0)
    try:
        if any(len(stroke[0]) != len(stroke[1]) or not stroke[0] for stroke in strokes):
            return nothing, nothing
        axes = [np.array([v for stroke in strokes for v in stroke[axis]]) for axis in (0, 1)]
    except (TypeError, ValueError, KeyError, IndexError, OverflowError):
        return nothing, nothing
    if any(values.ndim != 1 or values.dtype.kind not in "if" for values in axes):
        return nothing, nothing
    for stroke in strokes:
        if type(stroke) is not list or not 2 <= len(stroke) <= 3 or any(type(axis) is not list for axis in stroke):
            return nothing, nothing
        if len(stroke[-1]) != len(stroke[0]):
            return nothing, nothing
    return axes[0], axes[1]


def _within(values: Numbers) -> bool:
    return bool(values.size) and values.min() >= -MAX_COORDINATE and values.max() <= MAX_COORDINATE


def _text(value: object) -> str | None:
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise UsageError('"model" must be text', hint="GET /v1/models lists the models.")
    return value


def _whole(value: object) -> int | None:
    if value is None or value == "":
        return None
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 6:
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise UsageError(f'"top" must be a whole number of 1 or more, not {str(value)[:20]!r}')
    return value

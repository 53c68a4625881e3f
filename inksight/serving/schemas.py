"""The shapes of requests and answers, for the OpenAPI document and for the routes that are not in a hurry."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

CAT = [[[20, 0, 60, 130, 190, 255, 235], [80, 0, 45, 40, 50, 5, 90]], [[70, 75], [110, 112]], [[180, 184], [110, 113]]]
"""Strokes for the examples: a face with pointed ears, in Quick, Draw!'s 0..255 box."""


class Shape(BaseModel):
    """Base of all shapes: unknown keys are refused, so that a misspelt one is noticed."""

    model_config = ConfigDict(extra="forbid")


class ErrorDetail(Shape):
    """What went wrong and the way out."""

    code: str = Field(examples=["invalid_drawing"])
    message: str = Field(examples=["stroke 1 has no points"])
    hint: str = Field(examples=["Leave empty strokes out."])


class ErrorResponse(Shape):
    """The one shape of every error."""

    error: ErrorDetail


class ModelName(Shape):
    """Which model answered."""

    name: str = Field(examples=["doodles"])
    version: str = Field(examples=["1"])


class Prediction(Shape):
    """A label and its probability, 0..1."""

    label: str = Field(examples=["cat"])
    probability: float = Field(ge=0, le=1, examples=[0.93])


class PredictResponse(Shape):
    """The answer to one input; `id` is what feedback refers to."""

    id: str
    model: ModelName
    predictions: list[Prediction]
    unsure: bool = Field(description="The canvas is blank, holds a dot, or the best probability is low.")
    ms: float = Field(description="Milliseconds from the request's first byte to the answer.")


class BatchError(Shape):
    """Why one input of a batch got no answer."""

    error: ErrorDetail


class BatchAnswer(Shape):
    """The answer to one input of a batch."""

    id: str
    predictions: list[Prediction]
    unsure: bool


class BatchResponse(Shape):
    """The answers in the order of the inputs; an input that could not be read has an error in its place."""

    model: ModelName
    results: list[BatchAnswer | BatchError]
    ms: float


class ModelSummary(Shape):
    """A live model."""

    name: str
    version: str
    kind: str = Field(description="drawing or photo", examples=["drawing"])
    classes: int
    input_shape: list[int]
    default: bool
    registered: bool = Field(description="Whether the registry keeps it, and so its other versions.")
    since: str
    model_ms: float = Field(description="Milliseconds that one image took in the self-test.")


class ModelsResponse(Shape):
    """All live models, the default first."""

    models: list[ModelSummary]


class Described(Shape):
    """What a bundle says of itself."""

    labels: list[str]
    architecture: dict[str, Any]
    dataset: dict[str, Any]
    metrics: dict[str, Any]


def described(description: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of `Described`, from a bundle's description; what it does not tell is empty."""
    facts = {name: description.get(name) or {} for name in ("architecture", "dataset", "metrics")}
    return {"labels": description.get("classes") or [], **facts}


class ModelResponse(ModelSummary, Described):
    """One live model with its description."""


class ClassesResponse(Shape):
    """What a model can say."""

    model: ModelName
    classes: list[str]


class HealthResponse(Shape):
    """A sign of life."""

    status: str = Field(examples=["ok"])


class ReadyResponse(HealthResponse):
    """Ready to answer, with the models that passed their self-test."""

    models: list[ModelName]


STROKES = {
    "type": "array",
    "description": "Strokes [xs, ys] or [xs, ys, ts]; any canvas size. Lists of one stroke are equally long.",
    "items": {
        "type": "array",
        "minItems": 2,
        "maxItems": 3,
        "items": {"type": "array", "items": {"type": "number", "minimum": -1e9, "maximum": 1e9}},
    },
    "example": CAT,
}
_IMAGE = {
    "type": "string",
    "description": "A picture file as a base64 data URL.",
    "example": "data:image/png;base64,...",
}
_MODEL = {"type": ["string", "null"], "description": "A model's name; by default the first one answers."}
_TOP = {"type": ["integer", "null"], "minimum": 1, "description": "How many labels to return."}
_FILE = {"type": "string", "format": "binary", "description": "A picture file."}
_ASKING: dict[str, dict[str, Any]] = {"model": _MODEL, "top": _TOP}
_FORM = {"model": {"type": "string"}, "top": {"type": "integer", "minimum": 1}}


def _content(json: dict[str, Any], form: dict[str, Any], example: dict[str, Any]) -> dict[str, Any]:
    return {
        "parameters": [
            {"name": name, "in": "query", "description": schema["description"], "schema": _FORM[name]}
            for name, schema in _ASKING.items()
        ],
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": json, "examples": {"strokes": {"value": example}}},
                "multipart/form-data": {"schema": form},
            },
        },
    }


PREDICT_INPUT = _content(
    {
        "oneOf": [
            {"type": "object", "required": ["strokes"], "properties": {"strokes": STROKES, **_ASKING}},
            {"type": "object", "required": ["image"], "properties": {"image": _IMAGE, **_ASKING}},
        ]
    },
    {"type": "object", "required": ["file"], "properties": {"file": _FILE, **_FORM}},
    {"strokes": CAT, "top": 3},
)
"""What /v1/predict takes, which the route reads by itself (inputs.py)."""

BATCH_INPUT = _content(
    {
        "type": "object",
        "required": ["inputs"],
        "properties": {
            "inputs": {
                "type": "array",
                "minItems": 1,
                "items": {
                    "oneOf": [
                        {"type": "object", "required": ["strokes"], "properties": {"strokes": STROKES}},
                        {"type": "object", "required": ["image"], "properties": {"image": _IMAGE}},
                    ]
                },
            },
            **_ASKING,
        },
    },
    {
        "type": "object",
        "required": ["file"],
        "properties": {"file": {"type": "array", "items": _FILE, "minItems": 1}, **_FORM},
    },
    {"inputs": [{"strokes": CAT}, {"strokes": CAT[:1]}]},
)
"""What /v1/predict/batch takes."""

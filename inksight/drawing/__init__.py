"""From pen to bitmap.

    raw strokes --simplify--> simplified strokes --render--> bitmap (28, 28)      as Google made Quick, Draw!
    a picture of a drawing ------from_picture------------> the same kind of bitmap

`render` is the one renderer of training, serving and (as `web/js/render.js`) the page. Importing costs NumPy only.
"""

from inksight.drawing.centring import shift_to_centroid
from inksight.drawing.picture import from_picture, shows_nothing
from inksight.drawing.render import SIZE, render, render_many
from inksight.drawing.simplify import simplify, simplify_many
from inksight.drawing.strokes import MAX_POINTS, Strokes, is_dot, is_simplified, parse, validate

__all__ = [
    "MAX_POINTS",
    "SIZE",
    "Strokes",
    "from_picture",
    "is_dot",
    "is_simplified",
    "parse",
    "render",
    "render_many",
    "shift_to_centroid",
    "shows_nothing",
    "simplify",
    "simplify_many",
    "validate",
]

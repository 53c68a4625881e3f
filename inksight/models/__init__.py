"""The models: one file per family, found by name through a registry.

    from inksight import models

    models.names()                                                            # torch is not imported for this
    net = models.create("simple_cnn", num_classes=20, image_shape=(28, 28))   # float32 (N, 1, 28, 28) -> logits (N, 20)
    models.parameter_count(net)                                               # 50836

Every model is a plain `nn.Module` that maps normalised float32 (N, C, h, w) to logits (N, num_classes) and offers
`get_features(x)`, the (N, D) activations before the last layer. What turns uint8 images of a dataset into its input is
in preprocess.py. New weights are random: nothing here is trained.
"""

from __future__ import annotations

from inksight.models import catalogue  # noqa: F401  (fills the registry)
from inksight.models.registry import (
    ModelSpec,
    Option,
    create,
    get,
    input_shape,
    names,
    parameter_count,
    register,
    register_family,
    size_text,
)

__all__ = [
    "ModelSpec",
    "Option",
    "create",
    "get",
    "input_shape",
    "names",
    "parameter_count",
    "register",
    "register_family",
    "size_text",
]

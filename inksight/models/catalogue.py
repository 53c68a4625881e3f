"""The entries of the registry: every model by name, with its options; imports no torch.

Pixels of drawings are 0 (paper) to 1 (ink). The guides' nets take them as they are.
"""

from __future__ import annotations

from inksight.models.registry import ModelSpec, Option, register

_DROPOUT = "Share of activations dropped while training."

register(
    ModelSpec(
        name="convnet",
        family="convnets",
        summary="Two convolutions (16, 32) and a dense layer of 128; 108,618 parameters for 10 classes.",
        source="inksight.models.convnets:ConvNet",
        options={"dropout": Option(0.5, _DROPOUT)},
    )
)
register(
    ModelSpec(
        name="simple_cnn",
        family="convnets",
        summary="Two convolutions (32, 64) and one dense layer; 50,836 parameters for 20 classes.",
        source="inksight.models.convnets:SimpleCNN",
        options={"dropout": Option(0.5, _DROPOUT)},
    )
)
register(
    ModelSpec(
        name="balanced_cnn",
        family="convnets",
        summary="Three convolutions (32, 64, 128) with batch norm and dense layers of 256 and 128.",
        source="inksight.models.convnets:BalancedCNN",
        options={
            "dropout": Option(0.5, "Share of activations dropped after the first dense layer while training."),
            "dropout_2": Option(0.3, "Share of activations dropped after the second dense layer while training."),
        },
    )
)
for _size, _builder, _summary in (
    ("s", "small", "Our residual net for drawings, small: 56,836 parameters for 20 classes."),
    ("m", "medium", "Our residual net for drawings, medium: 263,652 parameters for 20 classes."),
    ("l", "large", "Our residual net for drawings, large: 1,047,988 parameters for 20 classes."),
):
    register(
        ModelSpec(
            name=f"sketchnet-{_size}",
            family="sketchnet",
            summary=_summary,
            source=f"inksight.models.sketchnet:{_builder}",
            options={"dropout": Option(0.0, _DROPOUT)},
        )
    )

"""The entries of the registry: every model by name, with its options; imports no torch.

Pixels of drawings are 0 (paper) to 1 (ink). The guides' nets take them as they are.
"""

from __future__ import annotations

from inksight.errors import unknown
from inksight.models.registry import ModelSpec, Option, register, register_family

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


# Plain names of backbones, as the guides use them, and timm's. Others are timm's own names.
BACKBONES = {
    "vgg16": "vgg16",
    "resnet18": "resnet18",
    "resnet50": "resnet50",
    "resnet101": "resnet101",
    "densenet121": "densenet121",
    "mobilenet_v2": "mobilenetv2_100",
    "efficientnet_b0": "efficientnet_b0",
    "efficientnet_b1": "efficientnet_b1.ft_in1k",
    "efficientnet_lite0": "tf_efficientnet_lite0",
    "efficientnet_lite1": "tf_efficientnet_lite1",
    "efficientnet_lite2": "tf_efficientnet_lite2",
}
_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def transfer_spec(backbone: str) -> ModelSpec:
    """Return the entry of `transfer/<backbone>`; only names that are not in BACKBONES need timm (and torch)."""
    timm_name = BACKBONES.get(backbone, backbone)
    mean, std = _HALF if "_lite" in timm_name else _IMAGENET
    if backbone not in BACKBONES:
        from inksight.models.timm_import import import_timm

        config = import_timm().get_pretrained_cfg(timm_name)
        if config is None:
            raise unknown("backbone", backbone, [*BACKBONES, *import_timm().list_models()], option="--backbone")
        mean, std = tuple(config.mean), tuple(config.std)
    return ModelSpec(
        name=f"transfer/{backbone}",
        family="transfer",
        summary=f"{backbone} trained on ImageNet, with a new head.",
        source="inksight.models.transfer:build",
        options={
            "timm_name": Option(timm_name, "The backbone's name in timm.", choices=(timm_name,)),
            "pretrained": Option(True, "Start from ImageNet weights instead of random ones."),
            "weights": Option(None, "A safetensors file with the backbone's weights."),
            "head": Option("guide", "Two hidden layers with batch norm, or one linear layer.", ("guide", "plain")),
            "dropout": Option(0.5, _DROPOUT),
        },
        channels=3,
        # All backbones shrink by 32: below 64 pixels nothing but one cell would be left.
        min_size=64,
        mean=mean,
        std=std,
    )


register_family("transfer", transfer_spec, tuple(BACKBONES))

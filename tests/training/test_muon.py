"""Muon: its orthogonalisation against the singular value decomposition, its AdamW half against torch's own."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from inksight import models
from inksight.training.muon import Muon, orthogonal
from inksight.training.optimizers import parameter_groups


@pytest.mark.parametrize("shape", [(16, 144), (144, 16), (48, 48)])
def test_orthogonal_keeps_directions_and_evens_out_sizes(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    matrix, other = torch.randn(shape), torch.randn(shape)
    both = orthogonal(torch.stack([matrix, other]))
    found = both[0]
    torch.testing.assert_close(both[1:], orthogonal(other[None]))
    u, _, vh = torch.linalg.svd(matrix, full_matrices=False)
    sizes = torch.diagonal(u.T @ found @ vh.T)
    # A square random matrix has singular values next to zero, which five rounds do not lift all the way.
    assert sizes.max() < 1.3
    assert sizes.median() > 0.6
    off = u.T @ found @ vh.T - torch.diag(sizes)
    assert off.abs().max() < 1e-3


def test_vectors_and_plain_matrices_move_as_with_adamw() -> None:
    torch.manual_seed(0)
    ours, theirs = nn.Linear(5, 3), nn.Linear(5, 3)
    theirs.load_state_dict(ours.state_dict())
    mine = Muon(ours.parameters(), lr=0.01, weight_decay=0.1)
    reference = torch.optim.AdamW(theirs.parameters(), lr=0.01, weight_decay=0.1, betas=(0.9, 0.99))
    for _ in range(5):
        x = torch.randn(8, 5)
        for net, optimizer in ((ours, mine), (theirs, reference)):
            optimizer.zero_grad()
            torch.autograd.backward(net(x).square().sum())
            optimizer.step()
    torch.testing.assert_close(ours.weight, theirs.weight)
    torch.testing.assert_close(ours.bias, theirs.bias)


def test_a_layer_that_thaws_later_counts_its_own_steps() -> None:
    torch.manual_seed(0)
    ours, theirs = nn.Linear(5, 3), nn.Linear(5, 3)
    theirs.load_state_dict(ours.state_dict())
    mine = Muon(ours.parameters(), lr=0.01)
    reference = torch.optim.AdamW(theirs.parameters(), lr=0.01, weight_decay=0.0, betas=(0.9, 0.99))
    for step in range(6):
        x = torch.randn(8, 5)
        for net, optimizer in ((ours, mine), (theirs, reference)):
            net.bias.requires_grad_(step >= 4)
            optimizer.zero_grad()
            torch.autograd.backward(net(x).square().sum())
            optimizer.step()
    torch.testing.assert_close(ours.weight, theirs.weight)
    torch.testing.assert_close(ours.bias, theirs.bias)


def test_a_saved_state_goes_on_as_if_never_stopped() -> None:
    torch.manual_seed(0)
    x, y = torch.rand(16, 1, 28, 28), torch.arange(16) % 4
    first = models.create("sketchnet-s", num_classes=4, image_shape=(28, 28))

    def step(net: nn.Module, optimizer: Muon) -> None:
        optimizer.zero_grad()
        torch.autograd.backward(nn.functional.cross_entropy(net(x), y))
        optimizer.step()

    optimizer = Muon(parameter_groups(first, 0.05), lr=0.01)
    step(first, optimizer)
    second = models.create("sketchnet-s", num_classes=4, image_shape=(28, 28))
    second.load_state_dict(first.state_dict())
    resumed = Muon(parameter_groups(second, 0.05), lr=0.01)
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    step(first, optimizer)
    step(second, resumed)
    for name, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[name]), name

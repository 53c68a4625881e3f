"""Several processes that train one model: who we are, and the few sums and votes that they share.

Started by `torchrun --nproc-per-node N -m inksight train ...`, which sets RANK, WORLD_SIZE and LOCAL_RANK. Gloo
connects CPU processes, NCCL GPUs. A process on its own gets the same functions, which then cost nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
from torch import Tensor, distributed, nn

from inksight.training.feed import Share


@dataclass(frozen=True)
class Group:
    """This process among `world`; `rank` 0 leads: it alone writes files and prints."""

    rank: int = 0
    world: int = 1
    local_rank: int = 0
    local_world: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process writes files and prints."""
        return self.rank == 0

    @property
    def share(self) -> Share:
        """This process's part of every batch."""
        return Share(self.rank, self.world)

    def sum(self, values: Tensor) -> Tensor:
        """Return the sum of a float tensor over all processes."""
        if self.world > 1:
            distributed.all_reduce(values)
        return values

    def any(self, flag: bool) -> bool:
        """Return whether any process says yes; all must ask."""
        return bool(self.sum(torch.tensor(float(flag)))) if self.world > 1 else flag

    def wait(self) -> None:
        """Wait until all processes are here."""
        if self.world > 1:
            distributed.barrier()

    def tell(self, text: str) -> str:
        """Return the leader's text in every process."""
        if self.world == 1:
            return text
        box = [text]
        distributed.broadcast_object_list(box)
        return box[0]

    def wrap(self, model: nn.Module, device: torch.device, *, some_unused: bool = False) -> nn.Module:
        """Return the model to call in training: it averages gradients over the processes.

        `some_unused`: parameters may be frozen for a while, so that not all of them have a gradient in every step.
        """
        if self.world == 1:
            return model
        devices = [device.index] if device.type == "cuda" else None
        return nn.parallel.DistributedDataParallel(model, device_ids=devices, find_unused_parameters=some_unused)


@contextmanager
def process_group() -> Iterator[Group]:
    """Join the processes that torchrun started, if it did, and leave them at the end."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        yield Group()
        return
    local_rank = int(os.environ.get("LOCAL_RANK", "0"))
    gpus = torch.cuda.is_available()
    if gpus:
        torch.cuda.set_device(local_rank)
    joined = not distributed.is_initialized()  # Ray Train joins for us
    if joined:
        # Shorter than torch's 30 minutes: when one process dies, the others should notice.
        distributed.init_process_group("cpu:gloo,cuda:nccl" if gpus else "gloo", timeout=timedelta(minutes=10))
    try:
        local_world = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
        yield Group(distributed.get_rank(), distributed.get_world_size(), local_rank, local_world)
    finally:
        if joined:
            distributed.destroy_process_group()

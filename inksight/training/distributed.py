"""Several processes that train one model: who we are, and the few sums and votes that they share.

Started by `inksight train --workers N` (launch.py), or on several machines by torchrun; both set RANK, WORLD_SIZE and
LOCAL_RANK. Gloo connects CPU processes, NCCL GPUs. A process on its own gets the same functions, which then cost
nothing.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
from torch import Tensor, distributed, nn

from inksight.errors import TrainingError
from inksight.training.feed import Share
from inksight.training.interrupt import end_with_parent
from inksight.training.launch import MEETING


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

    def votes(self, *flags: bool) -> list[bool]:
        """Return for each flag whether any process says yes; all must ask."""
        return [yes > 0 for yes in self.sum(torch.tensor(flags, dtype=torch.float32)).tolist()]

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

    def same(self, *models: nn.Module | None) -> None:
        """Give every process the leader's weights and buffers.

        DDP averages gradients only: statistics of batch normalisation are each process's own until then, and weights
        would drift apart between different processors.
        """
        if self.world > 1:
            with torch.no_grad():
                for model in models:
                    for value in model.state_dict().values() if model is not None else ():
                        distributed.broadcast(value, 0)

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
    if local_rank < torch.cuda.device_count():
        torch.cuda.set_device(local_rank)
    joined = not distributed.is_initialized()  # Ray Train joins for us
    if joined:
        # Others wait while the leader fetches and prepares data, or judges. A process that dies is noticed at once, by
        # its closed connections; the time limit is for a network that goes silent.
        distributed.init_process_group(
            "cpu:gloo,cuda:nccl" if gpus else "gloo",
            init_method=os.environ.get(MEETING),
            rank=int(os.environ["RANK"]),
            world_size=world,
            timeout=timedelta(hours=6),
        )
    try:
        if MEETING in os.environ:
            end_with_parent()
        local_world = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
        yield Group(distributed.get_rank(), distributed.get_world_size(), local_rank, local_world)
    except RuntimeError as error:
        if not isinstance(error, distributed.DistError) and "gloo" not in str(error):
            raise
        raise TrainingError(
            f"the connection to another process of this training was lost ({_first_sentence(str(error))})",
            hint="The run stays at its last checkpoint: --resume goes on.",
        ) from error
    finally:
        if joined:
            distributed.destroy_process_group()


def _first_sentence(text: str) -> str:
    """Return what happened, of a message of gloo: `[file:line] What happened. What to do and good wishes`."""
    return re.sub(r"^\[\S+:\d+\] ", "", text.splitlines()[0]).partition(". ")[0]

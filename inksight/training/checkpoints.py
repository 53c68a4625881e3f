"""Checkpoints: everything a killed run needs to go on as if nothing had happened.

    checkpoints/last.pt    the newest state, rewritten every so often and at the end of each epoch
    checkpoints/best.pt    the weights that did best on the validation split

Both are written beside their target and renamed, so a kill leaves the old file or the new one. They hold tensors,
numbers, strings, lists and dicts only and are read with torch's `weights_only`: a file that could run code is refused.
There is no random state inside: every step derives its own from (seed, step), see `seed_step`.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any, BinaryIO, cast

import torch

from inksight.errors import TrainingError
from inksight.workspace import atomic_path

FORMAT = 1


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint atomically."""
    with atomic_path(path) as temporary, open(temporary, "wb") as stream:
        noted = _Noted(stream)
        try:
            torch.save({"format": FORMAT, **state}, cast("BinaryIO", noted))
        except Exception:
            if noted.error is not None:
                raise noted.error from None
            raise


class _Noted:
    """A file that remembers why it could not be written: of a full disk torch.save says only `unexpected pos`."""

    def __init__(self, stream: BinaryIO) -> None:
        self.stream = stream
        self.error: OSError | None = None

    def write(self, data: bytes) -> int:
        try:
            return self.stream.write(data)
        except OSError as error:
            self.error = error
            raise

    def flush(self) -> None:
        self.stream.flush()


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint to the CPU; raises TrainingError when it is damaged, unsafe or of another format."""
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, OSError, EOFError, ValueError, KeyError) as error:
        raise TrainingError(
            # The first sentence: the next ones of PyTorch's are advice on its own API, such as to load unsafely.
            f"checkpoint {str(path)!r} cannot be read: {str(error).splitlines()[0].split('. ')[0]}",
            hint="Delete it to start this run from the beginning.",
        ) from None
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise TrainingError(
            f"checkpoint {str(path)!r} was written by another version of Inksight",
            hint="Start the run again without --resume.",
        )
    return state


def seed_step(seed: int, step: int, rank: int = 0) -> int:
    """Seed torch's random numbers (dropout, augmentation) for one step of one process and return the seed used.

    Since the state depends on nothing but these three numbers, a run resumed at any step draws what it would have
    drawn. The mixing is SplitMix64's, so that neighbouring steps have unrelated streams.
    """
    mixed = (seed * 0x9E3779B97F4A7C15 + step * 0xD1B54A32D192ED03 + rank * 0x8CB92BA72F3D8DD7) & _MASK
    mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & _MASK
    mixed ^= mixed >> 31
    torch.manual_seed(mixed >> 1)
    return mixed >> 1


_MASK = (1 << 64) - 1

"""One thread: these nets are so small that two threads, on busy cores, wait for each other ten times longer."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from tests.servers import mlflow_server  # noqa: F401


@pytest.fixture(autouse=True, scope="package")
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)

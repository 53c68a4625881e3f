"""The notebook runs from top to bottom, in a fresh kernel and an empty workspace."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).resolve().parents[2] / "notebooks" / "explore.ipynb"


def read() -> Any:
    """Return the committed notebook."""
    return nbformat.read(NOTEBOOK, as_version=4)  # type: ignore[no-untyped-call]


@pytest.mark.slow
# The kernel talks over ZeroMQ sockets that nbclient closes at exit, after pytest has looked.
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_every_cell_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INKSIGHT_PREPARE_PER_CLASS", "150")  # all 500 take half a minute to prepare
    notebook = read()
    NotebookClient(notebook, timeout=240, resources={"metadata": {"path": str(tmp_path)}}).execute()
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert len(cells) >= 8
    answers = [output for cell in cells for output in cell.outputs if output.output_type == "execute_result"]
    assert len(answers) >= 8
    assert sum("image/png" in answer.data for answer in answers) >= 3


def test_it_is_committed_without_output() -> None:
    notebook = read()
    assert all(not cell.get("outputs") for cell in notebook.cells)

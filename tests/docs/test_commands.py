"""Runs every command and program that README.md and docs/ show, in order, in a workspace of its own.

A small mirror of the Quick, Draw! bucket stands in for the public one and training is cut to one epoch; both come from
INKSIGHT_* variables, so that the commands are run as they are written.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from inksight.data.presets import categories
from inksight.drawing import render_many
from tests.docs.documents import REPOSITORY, Block, blocks, documents

DRAWINGS_PER_CLASS = 60
DIGITS_PER_CLASS = "100"  # of 500: all of them take half a minute to prepare
SERVERS = ("serve", "quickstart")


@pytest.fixture(scope="session")
def mirror(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder laid out as the bucket, with a few scribbles of every category."""
    folder = tmp_path_factory.mktemp("mirror")
    (folder / "full/numpy_bitmap").mkdir(parents=True)
    (folder / "full/simplified").mkdir(parents=True)
    for index, name in enumerate(categories()):
        random = np.random.default_rng(index)
        drawings = [
            [[random.integers(0, 256, 5).tolist(), random.integers(0, 256, 5).tolist()] for _ in range(3)]
            for _ in range(DRAWINGS_PER_CLASS)
        ]
        bitmaps = render_many(drawings).reshape(len(drawings), 784)
        np.save(folder / f"full/numpy_bitmap/{name}.npy", bitmaps)
        lines = [
            json.dumps({"word": name, "key_id": str(index * 1000 + n), "recognized": True, "drawing": drawing})
            for n, drawing in enumerate(drawings)
        ]
        (folder / f"full/simplified/{name}.ndjson").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of small photos in two classes, told apart by their colour."""
    folder = tmp_path_factory.mktemp("sources") / "photos"
    random = np.random.default_rng(0)
    for name, colour in (("daisy", (240, 240, 200)), ("tulip", (200, 40, 60))):
        (folder / name).mkdir(parents=True)
        for index in range(24):
            pixels = np.clip(random.normal(colour, 40, (64, 80, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{index}.jpg")
    return folder


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the prepared digits, which every document would begin with."""
    home = tmp_path_factory.mktemp("prepared")
    words = [
        str(Path(sys.executable).parent / "inksight"),
        "data",
        "prepare",
        "digits",
        "--per-class",
        DIGITS_PER_CLASS,
    ]
    subprocess.run(words, env={**os.environ, "INKSIGHT_HOME": str(home)}, check=True, capture_output=True)
    return home / "datasets" / "digits.h5"


@pytest.fixture
def environment(mirror: Path, digits: Path, tmp_path: Path) -> dict[str, str]:
    """Return the variables under which the commands are run, in a workspace that has the digits already."""
    (tmp_path / "inksight-home" / "datasets").mkdir(parents=True)
    shutil.copy(digits, tmp_path / "inksight-home" / "datasets")
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    return {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "INKSIGHT_HOME": str(tmp_path / "inksight-home"),
        "INKSIGHT_FETCH_BASE_URL": mirror.as_uri(),
        "INKSIGHT_TRAIN_EPOCHS": "1",
        "INKSIGHT_SERVE_PORT": str(port),
    }


def run_server(words: list[str], environment: dict[str, str], folder: Path) -> None:
    """Start a verb that serves, wait until it is ready, and end it as Ctrl-C would."""
    url = f"http://127.0.0.1:{environment['INKSIGHT_SERVE_PORT']}/v1/health/ready"
    process = subprocess.Popen(words, env=environment, cwd=folder)
    try:
        deadline = time.monotonic() + 240
        while True:
            assert process.poll() is None, f"{' '.join(words)} ended with {process.returncode}"
            assert time.monotonic() < deadline, f"{' '.join(words)} was not ready in time"
            try:
                with urllib.request.urlopen(url, timeout=2) as answer:
                    assert answer.status == 200
                    break
            except (urllib.error.URLError, OSError):
                time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) in (0, 130)
    finally:
        process.kill()
        process.wait()


def run_command(words: list[str], environment: dict[str, str], folder: Path) -> None:
    """Run one documented command; make's targets are what CI itself runs, so they need only exist."""
    while re.fullmatch(r"\w+=\S*", words[0]):
        name, _, value = words.pop(0).partition("=")
        environment = {**environment, name: value}
    if words[0] == "make":
        targets = re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)
        assert words[1] in targets
    elif words[0] == "inksight" and words[1] in SERVERS and "--help" not in words:
        run_server(words, environment, folder)
    else:
        done = subprocess.run(words, env=environment, cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{' '.join(words)}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("document", documents(), ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_every_command_works(document: Path, environment: dict[str, str], photos: Path, tmp_path: Path) -> None:
    (tmp_path / "photos").symlink_to(photos)
    shown: list[Block] = [block for block in blocks(document) if not block.not_run]
    if not shown:
        pytest.skip("shows no commands")
    for block in shown:
        if block.language == "python":
            run_command([sys.executable, "-c", block.body], environment, tmp_path)
        else:
            for words in block.commands:
                run_command(words, environment, tmp_path)


def test_what_is_not_run_says_why() -> None:
    reasons = [block.not_run for document in documents() for block in blocks(document) if block.not_run]
    assert all(len(reason) > 10 for reason in reasons), reasons


def test_links_inside_the_repository_lead_somewhere() -> None:
    for document in documents():
        for target in re.findall(r"\]\((?!https?://|#|mailto:)([^)#\s]+)", document.read_text(encoding="utf-8")):
            assert (document.parent / target).exists(), f"{document.name} links to {target}"


def test_the_tree_in_the_readme_is_true() -> None:
    text = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    tree = re.search(r"```text\ninksight/\n(.*?)```", text, re.DOTALL)
    assert tree, "README.md has no tree"
    shown = set(re.findall(r"^[├└│─ ]+([\w.]+/?)\s", tree[1], re.MULTILINE))
    folder = REPOSITORY / "inksight"
    hidden = {"__pycache__", "__init__.py", "__main__.py", "py.typed"}
    real = {path.name + "/" * path.is_dir() for path in folder.iterdir() if path.name not in hidden}
    assert shown == real

"""Fetching from a real HTTP server and from file://: what is kept, what is asked for, what is skipped."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inksight.data.manifest import Manifest
from inksight.data.quickdraw import FetchResult, check, fetch
from inksight.errors import DownloadError, NotFoundError, UsageError
from inksight.workspace import workspace
from tests.data.mirror import Mirror, serve


def bring(mirror: Mirror, *classes: str, **options: Any) -> FetchResult:
    options.setdefault("base_url", mirror.url)
    return fetch(classes or ("cat", "dog"), retry_wait=0.01, **options)


def source(mirror: Mirror, name: str) -> np.ndarray[Any, Any]:
    return np.asarray(np.load(mirror.folder / f"full/numpy_bitmap/{name}.npy"))


def statuses(result: FetchResult) -> list[str]:
    return [file.status for file in result.files]


def test_only_the_first_rows_are_asked_for(mirror: Mirror) -> None:
    result = bring(mirror, "cat", "alarm clock", per_class=50)
    assert result.folder == workspace().downloads / "quickdraw"
    for name in ("cat", "alarm clock"):
        kept = np.load(result.paths[name])
        assert result.paths[name] == result.folder / f"full/numpy_bitmap/{name}.npy"
        assert kept.dtype == np.uint8
        assert np.array_equal(kept, source(mirror, name)[:50])
        assert mirror.asked(name) == [f"bytes=0-{128 + 50 * 784 - 1}"]
    assert mirror.sent == 2 * (128 + 50 * 784)


def test_an_unusually_long_header_costs_one_more_request(mirror: Mirror) -> None:
    file = mirror.folder / "full/numpy_bitmap/cat.npy"
    pixels = np.load(file).tobytes()
    text = b"{'descr': '|u1', 'fortran_order': False, 'shape': (700, 784), }".ljust(501) + b"\n"
    file.write_bytes(b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + pixels)
    result = bring(mirror, "cat", per_class=20)
    assert np.array_equal(np.load(result.paths["cat"]), source(mirror, "cat")[:20])
    assert len(mirror.asked("cat")) == 2


def test_a_server_without_ranges(mirror: Mirror) -> None:
    mirror.ranges = False
    result = bring(mirror, "cat", per_class=50)
    assert np.array_equal(np.load(result.paths["cat"]), source(mirror, "cat")[:50])
    again = bring(mirror, "cat", per_class=80)
    assert np.array_equal(np.load(again.paths["cat"]), source(mirror, "cat")[:80])


@pytest.mark.parametrize("per_class", [0, 300, 5000])
def test_all_rows(mirror: Mirror, per_class: int) -> None:
    result = bring(mirror, "dog", per_class=per_class)
    assert np.array_equal(np.load(result.paths["dog"]), source(mirror, "dog"))
    assert ("only 300" in result.files[0].message) == (per_class == 5000)
    assert statuses(bring(mirror, "dog", per_class=5000)) == ["verified"]


def test_file_urls(mirror: Mirror) -> None:
    result = bring(mirror, "cat", per_class=50, base_url=mirror.folder.as_uri())
    assert np.array_equal(np.load(result.paths["cat"]), source(mirror, "cat")[:50])
    assert mirror.requests == []
    with pytest.raises(DownloadError, match="no such file"):
        bring(mirror, "hexagon", base_url=mirror.folder.as_uri())


def test_the_same_again_verifies_and_skips(mirror: Mirror) -> None:
    first = bring(mirror, per_class=50)
    before = len(mirror.requests)
    assert statuses(first) == ["fetched", "fetched"]
    for per_class in (50, 20):  # fewer than are there: nothing to do, nothing thrown away
        assert statuses(bring(mirror, per_class=per_class)) == ["verified", "verified"]
    assert len(mirror.requests) == before
    assert len(np.load(first.paths["cat"])) == 50


def test_more_extends(mirror: Mirror) -> None:
    bring(mirror, "cat", per_class=50)
    mirror.requests.clear()
    result = bring(mirror, "cat", per_class=200)
    assert statuses(result) == ["extended"]
    assert result.files[0].transferred == 150 * 784
    assert mirror.asked("cat") == [f"bytes={128 + 50 * 784}-{128 + 200 * 784 - 1}"]
    assert np.array_equal(np.load(result.paths["cat"]), source(mirror, "cat")[:200])


@pytest.mark.parametrize("etags", [True, False])
def test_a_source_that_changed_is_not_spliced(mirror: Mirror, etags: bool) -> None:
    mirror.etags = etags
    bring(mirror, "cat", per_class=50)
    other = np.random.default_rng(8).integers(0, 256, (690, 784), dtype=np.uint8)
    np.save(mirror.folder / "full/numpy_bitmap/cat.npy", other)
    result = bring(mirror, "cat", per_class=200)
    assert np.array_equal(np.load(result.paths["cat"]), other[:200])


def test_a_damaged_file_is_noticed_and_fetched_anew(mirror: Mirror) -> None:
    path = bring(mirror, "cat", per_class=50).paths["cat"]
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert statuses(bring(mirror, "cat", per_class=50)) == ["fetched"]
    assert np.array_equal(np.load(path), source(mirror, "cat")[:50])


def test_the_manifest(mirror: Mirror) -> None:
    import hashlib

    result = bring(mirror, per_class=50)
    files = json.loads((result.folder / "manifest.json").read_text())["files"]
    assert sorted(files) == ["full/numpy_bitmap/cat.npy", "full/numpy_bitmap/dog.npy"]
    entry = files["full/numpy_bitmap/cat.npy"]
    assert entry["sha256"] == hashlib.sha256(result.paths["cat"].read_bytes()).hexdigest()
    assert entry["bytes"] == 128 + 50 * 784
    assert entry["count"] == 50
    assert entry["source"]["url"] == f"{mirror.url}/full/numpy_bitmap/cat.npy"
    (result.folder / "manifest.json").write_text("{")  # unreadable: nothing is trusted, everything comes again
    assert statuses(bring(mirror, per_class=50)) == ["fetched", "fetched"]
    assert Manifest(result.folder).get("full/numpy_bitmap/cat.npy") is not None


def test_strokes(mirror: Mirror) -> None:
    lines = (mirror.folder / "full/simplified/cat.ndjson").read_bytes().splitlines()
    result = bring(mirror, "cat", per_class=30, format="simplified")
    assert result.paths["cat"].read_bytes().splitlines() == lines[:30]
    assert result.paths["cat"].name == "cat.ndjson"
    assert statuses(bring(mirror, "cat", per_class=30, format="simplified")) == ["verified"]
    longer = bring(mirror, "cat", per_class=60, format="simplified")
    assert statuses(longer) == ["extended"]
    assert longer.paths["cat"].read_bytes().splitlines() == lines[:60]
    everything = bring(mirror, "cat", per_class=0, format="simplified")
    assert everything.paths["cat"].read_bytes().splitlines() == lines


def test_all_lines_and_then_more_fetches_nothing_again(mirror: Mirror) -> None:
    """400 of 400 lines are asked for: that there are no more is known only when more are asked for."""
    first = bring(mirror, "cat", per_class=400, format="simplified")
    content = first.paths["cat"].read_bytes()
    again = bring(mirror, "cat", per_class=0, format="simplified")
    assert again.paths["cat"].read_bytes() == content == (mirror.folder / "full/simplified/cat.ndjson").read_bytes()
    assert (again.files[0].count, again.files[0].transferred) == (400, 0)
    assert mirror.asked("cat") == [None, f"bytes={len(content)}-"]
    assert statuses(bring(mirror, "cat", per_class=0, format="simplified")) == ["verified"]
    assert len(mirror.requests) == 2


def test_recognized_only(mirror: Mirror) -> None:
    lines = (mirror.folder / "full/simplified/cat.ndjson").read_bytes().splitlines()
    wanted = [line for line in lines if json.loads(line)["recognized"]]
    assert len(wanted) == 320
    for per_class, expected in ((30, 30), (100, 100), (5000, 320)):
        result = bring(mirror, "cat", per_class=per_class, format="simplified", recognized_only=True)
        assert result.paths["cat"].read_bytes().splitlines() == wanted[:expected]
    # Another selection of the same file is fetched anew, not mixed in.
    assert bring(mirror, "cat", per_class=30, format="simplified").paths["cat"].read_bytes().splitlines() == lines[:30]
    with pytest.raises(UsageError, match="recognized-only"):
        bring(mirror, "cat", recognized_only=True)


def test_a_last_line_without_newline_counts(mirror: Mirror) -> None:
    file = mirror.folder / "full/simplified/dog.ndjson"
    file.write_bytes(file.read_bytes().rstrip(b"\n"))
    result = bring(mirror, "dog", per_class=0, format="simplified")
    assert result.files[0].count == 30


def test_check_only_asks(mirror: Mirror) -> None:
    answer = check(["cat", "hexagon", "dog"], base_url=mirror.url)
    assert list(answer) == ["cat", "hexagon", "dog"]
    assert answer["hexagon"] is None
    assert answer["cat"] == 128 + 700 * 784
    assert {method for method, _, _ in mirror.requests} == {"HEAD"}
    assert mirror.sent == 0
    assert check(["cat", "hexagon"], base_url=mirror.folder.as_uri()) == {"cat": 128 + 700 * 784, "hexagon": None}
    assert not (workspace().downloads / "quickdraw").exists()


def test_class_names_are_checked_before_anything_is_asked(mirror: Mirror) -> None:
    with pytest.raises(NotFoundError) as caught:
        bring(mirror, "cat", "dragoon")
    assert "dragon" in caught.value.hint
    assert mirror.requests == []


def test_wrong_base_urls() -> None:
    for url in ("/data/mirror", "ftp://example.org/x", "example.org"):
        with pytest.raises(UsageError, match="--base-url"):
            fetch(["cat"], base_url=url)


@pytest.mark.parametrize("jobs", [1, 8])
def test_real_drawings(shared_data: Path, jobs: int) -> None:
    """The shared data is a mirror; names with spaces and capitals included."""
    names = ["The Mona Lisa", "airplane", "alarm clock", "cat", "house", "smiley face"]
    with serve(shared_data / "quickdraw") as mirror:
        result = fetch(names, base_url=mirror.url, per_class=400, jobs=jobs)
        for name in names:
            official = np.load(shared_data / "quickdraw/full/numpy_bitmap" / f"{name}.npy")
            assert np.array_equal(np.load(result.paths[name]), official[:400])
        raw = fetch(["cup", "cell phone"], base_url=mirror.url, per_class=10, format="raw")
        official_lines = (shared_data / "quickdraw/full/raw/cup.ndjson").read_bytes().splitlines()
        assert raw.paths["cup"].read_bytes().splitlines() == official_lines[:10]

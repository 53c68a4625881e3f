"""What a fetch makes of broken files, broken servers, full disks and being killed."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from email.utils import formatdate
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import inksight.data.download as download_module
from inksight.data.quickdraw import FetchResult, Silence, check, fetch
from inksight.data.remote import PassingError
from inksight.data.selectors import BitmapRows, StrokeLines
from inksight.errors import DataError, DownloadError, UsageError
from inksight.workspace import workspace
from tests.data.mirror import Fault, Mirror, cut, html, stall, status
from tests.waiting import wait_for

CAT = "full/numpy_bitmap/cat.npy"


def bring(mirror: Mirror, *classes: str, **options: Any) -> FetchResult:
    return fetch(classes or ("cat",), base_url=mirror.url, **{"retry_wait": 0.01, "retries": 2, **options})


def left_behind() -> list[str]:
    """Every file below the download folder but the manifest and the lock."""
    folder = workspace().downloads / "quickdraw"
    files = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    return [name for name in files if name not in ("manifest.json", ".lock")]


def same_as_source(mirror: Mirror, result: FetchResult, count: int) -> bool:
    return np.array_equal(np.load(result.paths["cat"]), np.load(mirror.folder / CAT)[:count])


class Notes(Silence):
    """Remembers what was said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, message: str) -> None:
        self.lines.append(message)


def header(shape: str, descr: str = "|u1", fortran: str = "False") -> bytes:
    text = f"{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': {shape}, }}".ljust(117).encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


BROKEN: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "truncated": (lambda data: data[:-1000], "truncated: the header promises"),
    "too long": (lambda data: data + b"x", "wrong length"),
    "inside its header": (lambda data: data[:60], "truncated"),
    "empty": (lambda data: b"", "truncated"),
    "html": (lambda data: b"<!DOCTYPE html>\n<html>" + data, r"a web page \(HTML\) came instead"),
    "not npy": (lambda data: b"PK\x03\x04" + data, "not a .npy file"),
    "shape": (lambda data: header("(700, 28, 28)") + data[128:], "wrong header"),
    "width": (lambda data: header("(700, 783)") + data[128:], "wrong header"),
    "type": (lambda data: header("(700, 784)", "<f4") + data[128:], "wrong header"),
    "objects": (lambda data: header("(700, 784)", "|O") + data[128:], "wrong header"),
    "order": (lambda data: header("(700, 784)", "|u1", "True") + data[128:], "wrong header"),
    "code": (lambda data: header("__import__('os')") + data[128:], "wrong header"),
    "no rows": (lambda data: header("(0, 784)"), "holds no drawings"),
}


@pytest.mark.parametrize("kind", BROKEN)
@pytest.mark.parametrize("ranges", [True, False])
def test_a_broken_bitmap_file(mirror: Mirror, kind: str, ranges: bool) -> None:
    mirror.ranges = ranges
    spoil, message = BROKEN[kind]
    (mirror.folder / CAT).write_bytes(spoil((mirror.folder / CAT).read_bytes()))
    with pytest.raises(DownloadError, match=message) as caught:
        bring(mirror, "cat", "dog", per_class=50)
    assert "1 of 2 classes" in caught.value.message
    assert left_behind() == ["full/numpy_bitmap/dog.npy"]


BROKEN_LINES: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "cut line": (lambda data: data[:-20], "truncated: line 400 is cut off"),
    "html": (lambda data: b"<!DOCTYPE html><html><body>hello</body></html>", "HTML"),
    "not json": (lambda data: b"word,drawing\ncat,none\n", "line 1: not a line of strokes"),
    "another word": (lambda data: data.replace(b'"word": "cat"', b'"word": "cow"'), "a drawing of 'cow'"),
    "no drawing": (lambda data: b'{"word": "cat"}\n', "line 1: not a line of strokes"),
    "a list": (lambda data: b"[1, 2]\n", "line 1: not a line of strokes"),
    "blank": (lambda data: b"\n\n", "holds no drawings"),
    "empty": (lambda data: b"", "holds no drawings"),
}


@pytest.mark.parametrize("kind", BROKEN_LINES)
def test_a_broken_stroke_file(mirror: Mirror, kind: str) -> None:
    spoil, message = BROKEN_LINES[kind]
    file = mirror.folder / "full/simplified/cat.ndjson"
    file.write_bytes(spoil(file.read_bytes()))
    with pytest.raises(DownloadError, match=message):
        bring(mirror, format="simplified", per_class=0)
    assert left_behind() == []


def test_html_with_status_200(mirror: Mirror) -> None:
    mirror.faults[CAT] = [html]
    with pytest.raises(DownloadError, match=r"web page \(HTML\)"):
        bring(mirror)
    assert len(mirror.requests) == 1
    assert left_behind() == []


@pytest.mark.parametrize(("fault", "message"), [(status(404), "404"), (status(403), "403"), (status(401), "401")])
def test_a_refusal_is_final(mirror: Mirror, fault: Fault, message: str) -> None:
    mirror.faults[CAT] = [fault]
    with pytest.raises(DownloadError, match=message):
        bring(mirror)
    assert len(mirror.requests) == 1
    assert left_behind() == []


def test_a_503_that_recovers(mirror: Mirror) -> None:
    notes = Notes()
    mirror.faults[CAT] = [status(503), status(503)]
    result = fetch(["cat"], base_url=mirror.url, per_class=50, retry_wait=0.05, progress=notes)
    assert same_as_source(mirror, result, 50)
    assert len(mirror.requests) == 3
    assert ["503" in line and "trying again" in line for line in notes.lines] == [True, True]


@pytest.mark.parametrize("when", ["1", "date"])
def test_retry_after_is_honoured(mirror: Mirror, when: str) -> None:
    later = when if when == "1" else formatdate(time.time() + 2, usegmt=True)
    mirror.faults[CAT] = [status(503, Retry_After=later)]
    start = time.monotonic()
    bring(mirror, per_class=50)
    assert time.monotonic() - start >= 0.95


def test_the_check_asks_a_busy_server_again(mirror: Mirror) -> None:
    mirror.faults[CAT] = [status(503)] * 2  # to HEAD, and to GET in its place
    assert check(["cat"], base_url=mirror.url, retries=1, retry_wait=0.01)["cat"] == 128 + 700 * 784
    mirror.faults[CAT] = [status(503)] * 4
    with pytest.raises(DownloadError, match="503"):
        check(["cat"], base_url=mirror.url, retries=1, retry_wait=0.01)


def test_a_503_that_stays(mirror: Mirror) -> None:
    mirror.faults[CAT] = [status(503)] * 9
    with pytest.raises(DownloadError, match=r"503.*given up after 2 new tries"):
        bring(mirror)
    assert len(mirror.requests) == 3
    assert left_behind() == []


def test_dropped_connections_go_on_where_they_broke(mirror: Mirror) -> None:
    mirror.faults[CAT] = [cut(100_000), cut(50_000), cut(60_000)]
    result = bring(mirror, per_class=0)
    assert same_as_source(mirror, result, 700)
    assert mirror.asked("cat") == [None, "bytes=100000-548927", "bytes=150000-548927", "bytes=210000-548927"]


def test_dropped_stroke_connections_go_on_at_the_last_whole_line(mirror: Mirror) -> None:
    path = "full/simplified/cat.ndjson"
    mirror.faults[path] = [cut(30_000), cut(10), cut(5_000)]
    result = bring(mirror, per_class=0, format="simplified", retries=3)
    assert result.paths["cat"].read_bytes() == (mirror.folder / path).read_bytes()


def test_a_source_that_became_shorter_than_the_part(mirror: Mirror) -> None:
    mirror.etags = False
    mirror.faults[CAT] = [cut(400_000), status(403)]
    with pytest.raises(DownloadError, match="403"):
        bring(mirror, per_class=0)
    assert left_behind() != []  # kept for the next try
    shorter = np.load(mirror.folder / CAT)[:100]
    np.save(mirror.folder / CAT, shorter)
    assert same_as_source(mirror, bring(mirror, per_class=0), 100)
    assert left_behind() == ["full/numpy_bitmap/cat.npy"]


def test_a_connection_that_always_breaks_at_the_same_byte(mirror: Mirror) -> None:
    mirror.faults[CAT] = [cut(100_000)] + [cut(0)] * 9
    with pytest.raises(DownloadError, match="may be truncated"):
        bring(mirror, per_class=0)
    assert left_behind() == []


def test_a_stalled_connection(mirror: Mirror) -> None:
    mirror.faults[CAT] = [stall]
    start = time.monotonic()
    result = bring(mirror, per_class=50, timeout=0.5)
    assert 0.4 < time.monotonic() - start < 10
    assert same_as_source(mirror, result, 50)


def test_no_server_is_said_once(mirror: Mirror) -> None:
    with pytest.raises(DownloadError, match="no connection"):
        fetch(["cat", "dog", "alarm clock"], base_url="http://127.0.0.1:9", jobs=1, retries=1, retry_wait=0.01)
    result = fetch(
        ["cat", "dog", "alarm clock"], base_url="http://127.0.0.1:9", jobs=1, retries=0, retry_wait=0.01, strict=False
    )
    assert [file.status for file in result.files] == ["failed", "skipped", "skipped"]


@pytest.mark.parametrize("url", ["http://", "https:///x", "http://127.0.0.1:99999", "http://[::1"])
def test_an_address_that_names_no_server_is_refused_at_once(url: str) -> None:
    with pytest.raises(UsageError, match="--base-url"):
        fetch(["cat"], base_url=url)


def test_a_full_disk(mirror: Mirror, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every write fails as on a full disk; nothing stays but what was there before."""

    class Full(download_module.Part):
        def append(self, *args: Any) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("inksight.data.quickdraw.Part", Full)
    with pytest.raises(DownloadError, match="no space left"):
        bring(mirror, "cat", "dog", jobs=1)
    assert left_behind() == []


@pytest.mark.parametrize("step", ["seed", "open"])
def test_a_disk_that_is_full_before_the_first_byte_comes(
    mirror: Mirror, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """Full while the file to be extended is copied, or while the part is opened: what was there before stays."""
    bring(mirror, "cat", per_class=50)
    before = (workspace().downloads / "quickdraw" / CAT).read_bytes()

    def full(part: download_module.Part, *args: Any) -> None:
        part.path.parent.mkdir(parents=True, exist_ok=True)
        part.path.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(download_module.Part, step, full)
    with pytest.raises(DownloadError, match=r"2 of 2 classes .*: cat \(no space left"):
        bring(mirror, "cat", "dog", per_class=200, jobs=1)
    assert left_behind() == [CAT]
    assert (workspace().downloads / "quickdraw" / CAT).read_bytes() == before


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")
@pytest.mark.parametrize("kilobytes", [64, 400, 800])
def test_a_really_full_disk(mirror: Mirror, tmp_path: Path, kilobytes: int) -> None:
    """A file system of that size, 549 kB to fetch: full while downloading, or while the finished file is written."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", disk], capture_output=True)
    if mounted.returncode:
        pytest.skip("mounting is not allowed here")
    try:
        with pytest.raises(DownloadError, match="no space left"):
            bring(mirror, per_class=0, folder=disk)
        assert [path.name for path in disk.rglob("*") if path.is_file() and path.name != ".lock"] == []
    finally:
        subprocess.run(["umount", disk], check=True)


def start_fetch(mirror: Mirror, *extra: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "inksight", "data", "fetch", "--classes", "cat,dog", "--per-class", "0"]
    command += ["--base-url", mirror.url, *extra]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.fixture
def large_cat(mirror: Mirror) -> Mirror:
    """The mirror with 4.7 MB of cats, sent at 4 MB/s."""
    pixels = np.random.default_rng(9).integers(0, 256, (6000, 784), dtype=np.uint8)
    np.save(mirror.folder / CAT, pixels)
    mirror.rate = 4e6
    return mirror


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL, signal.SIGTERM])
@pytest.mark.parametrize("ranges", [True, False])
def test_a_killed_process_leaves_nothing_half_written_and_the_next_goes_on(
    large_cat: Mirror, how: signal.Signals, ranges: bool
) -> None:
    large_cat.ranges = ranges
    folder = workspace().downloads / "quickdraw"
    with start_fetch(large_cat) as process:
        try:
            wait_for(lambda: large_cat.sent > 2_600_000)
        finally:
            process.send_signal(how)
        _, errors = process.communicate(timeout=20)
    assert process.returncode == (130 if how == signal.SIGINT else -how), errors
    said = "Interrupted. What has arrived is kept; the same command goes on from there."
    assert errors.count(said) == errors.count("nterrupted") == (how == signal.SIGINT)
    assert not (folder / CAT).exists()
    before = large_cat.sent
    large_cat.rate = 0
    large_cat.requests.clear()
    result = bring(large_cat, "cat", "dog", per_class=0)
    assert same_as_source(large_cat, result, 6000)
    assert sorted(left_behind()) == ["full/numpy_bitmap/cat.npy", "full/numpy_bitmap/dog.npy"]
    if ranges:
        begin = int((large_cat.asked("cat")[0] or "bytes=0-").removeprefix("bytes=").split("-")[0])
        assert begin >= 1 << 20
        assert large_cat.sent - before < 4_700_000 - begin + 300 * 784 + 256


def test_a_killed_stroke_fetch_goes_on(large_cat: Mirror) -> None:
    lines = (large_cat.folder / "full/simplified/cat.ndjson").read_bytes().splitlines() * 30
    (large_cat.folder / "full/simplified/cat.ndjson").write_bytes(b"\n".join(lines) + b"\n")
    with start_fetch(large_cat, "--format", "simplified", "--recognized-only") as process:
        try:
            wait_for(lambda: large_cat.sent > 2_200_000)
        finally:
            process.kill()
        process.communicate(timeout=20)
    large_cat.rate = 0
    large_cat.requests.clear()
    result = bring(large_cat, format="simplified", recognized_only=True, per_class=0)
    assert result.paths["cat"].read_bytes().splitlines() == [line for line in lines if b'"recognized": true' in line]
    assert (large_cat.asked("cat")[0] or "").startswith("bytes=")


def test_two_fetches_at_once_take_turns(large_cat: Mirror) -> None:
    results: list[FetchResult] = []
    notes = Notes()

    def one() -> None:
        results.append(fetch(["cat"], base_url=large_cat.url, per_class=3000, progress=notes))

    threads = [threading.Thread(target=one) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(result.files[0].status for result in results) == ["fetched", "verified"]
    assert any("another fetch" in line for line in notes.lines)


def test_pauses_grow_and_are_bounded() -> None:
    patience = download_module.Patience(wait=1.0)
    pauses = [patience.pause(attempt, None) for attempt in range(1, 12)]
    assert all(0.75 * min(60, 2**k) <= pause <= 1.25 * min(60, 2**k) for k, pause in enumerate(pauses))
    assert patience.pause(5, 7.0) == 7.0
    assert PassingError("x", retry_after=3).retry_after == 3


pieces = st.lists(st.integers(1, 900), min_size=1, max_size=40)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    rows=st.integers(1, 30), wanted=st.one_of(st.none(), st.integers(1, 40)), sizes=pieces, stop_at=st.integers(0, 30)
)
def test_rows_come_out_the_same_however_the_bytes_arrive(
    rows: int, wanted: int | None, sizes: list[int], stop_at: int
) -> None:
    """Any cutting of the stream, with a restart from the saved state after any piece, keeps the first rows."""
    pixels = (np.arange(rows * 784) % 251).astype(np.uint8)
    data = header(f"({rows}, 784)") + pixels.tobytes()
    selector, kept, turn = BitmapRows(wanted), b"", 0
    while not selector.done:
        size = sizes[turn % len(sizes)]
        begin = selector.consumed + (0 if selector.header_size else len(selector._head))
        kept += selector.take(data[begin : begin + size], len(data))
        turn += 1
        if turn == stop_at and selector.header_size:
            state = selector.state()
            selector = BitmapRows(wanted)
            assert selector.resume(state)
    expected = min(rows, wanted or rows)
    assert selector.count == expected
    assert kept == pixels.tobytes()[: expected * 784]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    flags=st.lists(st.booleans(), min_size=1, max_size=30),
    wanted=st.one_of(st.none(), st.integers(1, 40)),
    sizes=pieces,
    only=st.booleans(),
)
def test_lines_come_out_the_same_however_the_bytes_arrive(
    flags: list[bool], wanted: int | None, sizes: list[int], only: bool
) -> None:
    lines = [
        f'{{"word":"cat","n":{n},"recognized":{str(flag).lower()},"drawing":[]}}'.encode()
        for n, flag in enumerate(flags)
    ]
    data = b"\n".join(lines) + b"\n"
    selector, kept, position, turn = StrokeLines(wanted, "cat", only), b"", 0, 0
    while not selector.done:
        piece = data[position : position + sizes[turn % len(sizes)]]
        kept += selector.take(piece, len(data)) if piece else selector.end()
        position, turn = position + len(piece), turn + 1
        if turn % 3 == 0:
            state, selector = selector.state(), StrokeLines(wanted, "cat", only)
            assert selector.resume(state)
            position = selector.consumed
            turn += 1 if sizes[turn % len(sizes)] < 100 else 0
            sizes = [*sizes, 900]  # always able to pass a whole line between two restarts
    expected = [line for line, flag in zip(lines, flags, strict=True) if flag or not only][:wanted]
    assert kept.splitlines() == expected


def test_selections_do_not_mix() -> None:
    assert not StrokeLines(5, "cat", True).resume(StrokeLines(5, "cat").state())
    assert not BitmapRows(5).resume(StrokeLines(5, "cat").state())
    with pytest.raises(DataError, match="inside its header"):
        BitmapRows(5).end()

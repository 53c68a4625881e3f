"""What of a Quick, Draw! file is kept: the first N bitmaps of a .npy, or the first N lines of an ndjson.

A selector is fed the source's bytes in order and returns those to keep. It counts what it consumed, so that a download
can stop as soon as there is enough and go on later at `consumed`, possibly for a larger N.
Only structure is verified (header, shape, length; JSON with the right word), not that a drawing is any good.
"""

from __future__ import annotations

import ast
import io
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import orjson

from inksight.errors import DataError

PIXELS = 784  # one bitmap: 28 x 28 uint8, in one row
_MAGIC = b"\x93NUMPY"
_USUAL_HEADER = 128  # bytes; the bucket's own files have 80, current NumPy writes 128
_LONGEST_HEADER = 1 << 14
_LONGEST_LINE = 64 << 20


class Selector(Protocol):
    """Takes source bytes in order, returns those to keep; `consumed` source bytes were used so far."""

    consumed: int

    @property
    def count(self) -> int:
        """Drawings kept so far."""

    @property
    def done(self) -> bool:
        """Whether enough drawings are kept."""

    @property
    def stop(self) -> int | None:
        """The source offset up to which bytes are wanted, None when it cannot be known."""

    def take(self, data: bytes, length: int | None) -> bytes:
        """Return what to keep of the next source bytes; `length` is the source's size. Raises DataError."""

    def end(self) -> bytes:
        """The source has no more bytes: return the last ones to keep; raises DataError when it ended too early."""

    def prologue(self) -> bytes:
        """Return the bytes that go before what was kept in the finished file."""

    def state(self) -> dict[str, Any]:
        """Return what `resume` needs."""

    def resume(self, state: Mapping[str, Any]) -> bool:
        """Go on from a state; False, and nothing changed, when it belongs to another kind of selection."""


class BitmapRows:
    """The first `wanted` rows (None: all) of a (rows, 784) uint8 .npy file; rows are kept without the header."""

    def __init__(self, wanted: int | None) -> None:
        self.wanted = wanted
        self.rows = 0  # in the source
        self.header_size = 0  # of the source; 0 until it is read
        self.consumed = 0
        self._head = b""

    @property
    def count(self) -> int:
        """Whole rows kept so far."""
        return max(0, self.consumed - self.header_size) // PIXELS

    @property
    def _goal(self) -> int:
        wanted = self.rows if self.wanted is None else min(self.wanted, self.rows)
        # An earlier, larger request may have left more than is wanted now: its last row is completed, none is dropped.
        begun = -((self.header_size - self.consumed) // PIXELS)
        return self.header_size + PIXELS * max(wanted, begun)

    @property
    def done(self) -> bool:
        """Whether all wanted rows are there."""
        return self.header_size > 0 and self.consumed == self._goal

    @property
    def stop(self) -> int | None:
        """Where the wanted rows end; a guess before the header is read."""
        if self.header_size:
            return self._goal
        return None if self.wanted is None else _USUAL_HEADER + PIXELS * self.wanted

    def take(self, data: bytes, length: int | None) -> bytes:
        """Return the pixels among the next source bytes."""
        if not self.header_size:
            self._head += data
            if not self._read_header(length):
                return b""
            data, self._head = self._head[self.header_size :], b""
            self.consumed = self.header_size
        data = data[: self._goal - self.consumed]
        self.consumed += len(data)
        return data

    def end(self) -> bytes:
        """Raise DataError: the source ended before the wanted rows did."""
        if not self.header_size:
            raise DataError(f"truncated: the file ends after {len(self._head)} bytes, inside its header")
        raise DataError(f"truncated: the header promises {self.rows:,} drawings, the file ends after {self.count:,}")

    def prologue(self) -> bytes:
        """Return a .npy header for the rows that are kept."""
        stream = io.BytesIO()
        shape = {"descr": "|u1", "fortran_order": False, "shape": (self.count, PIXELS)}
        np.lib.format.write_array_header_1_0(stream, shape)
        return stream.getvalue()

    def state(self) -> dict[str, Any]:
        """Return what `resume` needs."""
        return {"kind": "rows", "consumed": self.consumed, "rows": self.rows, "header_size": self.header_size}

    def resume(self, state: Mapping[str, Any]) -> bool:
        """Go on from a state."""
        if state.get("kind") != "rows":
            return False
        self.rows, self.header_size, self.consumed = state["rows"], state["header_size"], state["consumed"]
        return True

    def _read_header(self, length: int | None) -> bool:
        """Read the header if it has all arrived."""
        head = self._head
        if not _MAGIC.startswith(head[: len(_MAGIC)]) and not head.startswith(_MAGIC):
            raise DataError(_not_data(head, ".npy file"))
        if len(head) < 12:
            return False
        size = int.from_bytes(head[8:10], "little") + 10 if head[6] == 1 else int.from_bytes(head[8:12], "little") + 12
        if size > _LONGEST_HEADER:
            raise DataError(f"wrong header: it claims to be {size:,} bytes long")
        if len(head) < size:
            return False
        shape = _shape(head[10 if head[6] == 1 else 12 : size])
        if shape[0] == 0:
            raise DataError("the file holds no drawings")
        promised = size + shape[0] * PIXELS
        if length is not None and length < promised:
            raise DataError(f"truncated: the header promises {promised:,} bytes, the file has {length:,}")
        if length is not None and length > promised:
            raise DataError(f"wrong length: the header promises {promised:,} bytes, the file has {length:,}")
        self.rows, self.header_size = shape[0], size
        return True


class StrokeLines:
    """The first `wanted` lines (None: all) of an ndjson of drawings, optionally only the recognised ones.

    Each kept line is a JSON object with a `drawing` and, when it has a `word`, that of the class.
    """

    def __init__(self, wanted: int | None, word: str, recognized_only: bool = False) -> None:
        self.wanted = wanted
        self.word = word
        self.recognized_only = recognized_only
        self._kept = 0
        self.consumed = 0
        self._pending = b""
        self._ended = False
        self._seen = 0

    @property
    def count(self) -> int:
        """Lines kept so far."""
        return self._kept

    @property
    def done(self) -> bool:
        """Whether there are enough lines, or the source has no more."""
        return self._ended or (self.wanted is not None and self.count >= self.wanted)

    @property
    def stop(self) -> int | None:
        """Unknown: lines have any length."""
        return None

    def take(self, data: bytes, length: int | None) -> bytes:
        """Return the wanted lines that end within the next source bytes."""
        *lines, self._pending = (self._pending + data).split(b"\n")
        if len(self._pending) > _LONGEST_LINE:
            raise DataError(f"line {self._seen + 1} is longer than {_LONGEST_LINE >> 20} MiB")
        kept = []
        for line in lines:
            if self.done:
                break
            self.consumed += len(line) + 1
            if self._wants(line):
                kept.append(line + b"\n")
        return b"".join(kept)

    def end(self) -> bytes:
        """Accept the end, the last line with or without its newline; raises DataError when it is cut off."""
        last, self._pending = self._pending, b""
        if last.strip() and not last.lstrip().startswith(b"<") and not last.rstrip().endswith(b"}"):
            raise DataError(f"truncated: line {self._seen + 1} is cut off")
        kept = last + b"\n" if self._wants(last) else b""
        if not self._seen:
            raise DataError("the file holds no drawings")
        self.consumed += len(last)
        self._ended = True
        return kept

    def prologue(self) -> bytes:
        """Lines need no header."""
        return b""

    def state(self) -> dict[str, Any]:
        """Return what `resume` needs."""
        return {
            "kind": "recognized" if self.recognized_only else "lines",
            "consumed": self.consumed,
            "count": self.count,
            "seen": self._seen,
            "ended": self._ended,
        }

    def resume(self, state: Mapping[str, Any]) -> bool:
        """Go on from a state; all lines and recognised lines only do not mix."""
        if state.get("kind") != ("recognized" if self.recognized_only else "lines"):
            return False
        self.consumed, self._kept, self._seen = state["consumed"], state["count"], state["seen"]
        self._ended = state["ended"]
        return True

    def _wants(self, line: bytes) -> bool:
        if not line.strip():
            return False
        self._seen += 1
        try:
            drawing = orjson.loads(line)
            recognized, word = drawing.get("recognized", True), drawing.get("word", self.word)
            complete = isinstance(drawing["drawing"], list)
        except (orjson.JSONDecodeError, AttributeError, KeyError):
            complete, recognized, word = False, False, self.word
        if not complete:
            raise DataError(_not_data(line, "line of strokes", f"line {self._seen}: "))
        if word != self.word:
            raise DataError(f"line {self._seen}: a drawing of {word!r} where {self.word!r} was expected")
        if self.recognized_only and not recognized:
            return False
        self._kept += 1
        return True


def _shape(text: bytes) -> tuple[int, int]:
    """Read the dict of a .npy header (NEP 1): uint8, C order, (rows, 784). Raises DataError."""
    try:
        header = ast.literal_eval(text.decode("latin-1").strip())
        descr, fortran, shape = header["descr"], header["fortran_order"], tuple(header["shape"])
    except (ValueError, SyntaxError, TypeError, KeyError, MemoryError, RecursionError):
        raise DataError(f"wrong header: {text[:60]!r}") from None
    rows = shape[0] if len(shape) == 2 and shape[1] == PIXELS else None
    if descr not in ("|u1", "<u1", ">u1") or fortran is not False or not isinstance(rows, int) or rows < 0:
        order = "Fortran" if fortran else "C"
        raise DataError(f"wrong header: {descr} {shape} in {order} order where |u1 (N, {PIXELS}) was expected")
    return rows, PIXELS


def _not_data(start: bytes, expected: str, where: str = "") -> str:
    if start.lstrip()[:1] == b"<":
        return f"{where}a web page (HTML) came instead of a {expected}"
    return f"{where}not a {expected}: it begins with {start[:16]!r}"

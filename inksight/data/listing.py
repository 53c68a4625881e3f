"""Which pictures a source holds and what they show: a folder, a zip of one, or a CSV file.

A folder has a subfolder per class, or train, val and test above them, beside which nothing is read. A CSV file has the
columns path and label (and split, if it likes), with paths relative to itself. Nothing is decoded here, and nothing is
ever unpacked to disk.
"""

from __future__ import annotations

import csv
import os
import stat
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from inksight.data.photos import PhotoError
from inksight.errors import DataError, NotFoundError

SPLIT_NAMES = {"train": 0, "training": 0, "val": 1, "valid": 1, "validation": 1, "dev": 1, "test": 2, "testing": 2}
MAX_FILE_BYTES = 200_000_000
# Photos hardly shrink when zipped. A file that grows a hundredfold and beyond 10 MB is a bomb, not a photo.
MAX_RATIO, RATIO_FROM_BYTES = 100, 10_000_000
MAX_ENTRIES = 2_000_000
_SOURCES = "Give a folder with a subfolder per class, a .zip of one or a .csv of path,label."
ARCHIVES, TABLES = (".zip",), (".csv", ".tsv")


@dataclass(frozen=True)
class Entry:
    """One file: its name in the source, its class, its split (0, 1, 2 or None) and how to get its bytes."""

    name: str
    label: str
    split: int | None
    read: Callable[[], bytes]


@dataclass
class Listing:
    """The files of a source, and those that were passed over with the reason; close it when done reading."""

    entries: list[Entry]
    skipped: list[tuple[str, str]] = field(default_factory=list)
    stack: ExitStack = field(default_factory=ExitStack)

    def classes(self) -> list[str]:
        """Return the class names in order."""
        return sorted({entry.label for entry in self.entries})


def is_source(path: Path) -> bool:
    """Return whether a path looks like a source of photos: a folder, a zip or a CSV file."""
    return path.is_dir() or (path.is_file() and path.suffix.lower() in ARCHIVES + TABLES)


def check_source(path: Path) -> None:
    """Raise NotFoundError for a path that is missing, DataError for one that is no folder, zip or CSV file."""
    if not path.exists():
        raise NotFoundError(f"{str(path)!r} does not exist", hint=_SOURCES)
    if not is_source(path):
        raise DataError(f"{str(path)!r} is no source of photos", hint=_SOURCES)


def list_photos(source: Path) -> Listing:
    """List a source's files; raises DataError when it is missing, unreadable or holds no classes."""
    check_source(source)
    if source.is_dir():
        paths, empty = _walk(source)
        listing = _from_tree([(_name(path, source), _reader(path)) for path in paths])
        listing.skipped += [
            (name, "an empty folder") for name in (_name(path, source) for path in empty) if not _hidden(name)
        ]
    elif source.suffix.lower() in ARCHIVES:
        listing = _from_zip(source)
    else:
        listing = _from_csv(source)
    if not listing.entries:
        listing.stack.close()
        held = "lines of path,label" if source.suffix.lower() in TABLES else "pictures in class folders"
        raise DataError(
            f"{str(source)!r} holds no {held}" + _first_reason(listing.skipped),
            hint="Make one subfolder per class, or train, val and test above them, or a .csv of path,label.",
        )
    return listing


def files(source: Path) -> list[Path]:
    """Return the files that a source is read from: all below a folder, a zip itself, a CSV and what it lists.

    A listed file need not be there. Raises DataError for a CSV that cannot be read.
    """
    if source.is_dir():
        return _walk(source)[0]
    listed = _from_csv(source).entries if source.suffix.lower() in TABLES else []
    return [source, *(source.parent / entry.name for entry in listed)]


Found = tuple[str, Callable[[], bytes]]


def _first_reason(skipped: Sequence[tuple[str, str]]) -> str:
    return f" ({len(skipped)} passed over, e.g. {skipped[0][0]}: {skipped[0][1]})" if skipped else ""


def _walk(folder: Path) -> tuple[list[Path], list[Path]]:
    """All files below a folder, in order, and the empty folders; links are followed, none twice."""
    found: list[Path] = []
    empty: list[Path] = []
    seen: set[str] = set()
    for parent, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(parent)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders.sort()
        found += [Path(parent) / name for name in sorted(names)]
        if not folders and not names and parent != str(folder):
            empty.append(Path(parent))
    return found, empty


def _name(path: Path, folder: Path) -> str:
    return readable(path.relative_to(folder).as_posix())


def readable(name: str) -> str:
    """Return a file's name with bytes that are not UTF-8 spelled out (caf\\xe9.png): JSON and HDF5 take no others."""
    return os.fsencode(name).decode(errors="backslashreplace")


def _reader(path: Path) -> Callable[[], bytes]:
    def read() -> bytes:
        try:
            status = path.stat()
            if not stat.S_ISREG(status.st_mode):  # reading a pipe would wait for its writer for ever
                raise PhotoError("not a file")
            if status.st_size > MAX_FILE_BYTES:
                raise PhotoError(f"more than {MAX_FILE_BYTES // 1_000_000} MB")
            return path.read_bytes()
        except OSError as error:
            raise PhotoError(f"cannot be read: {error.strerror or error}") from None

    return read


def _from_tree(found: list[Found]) -> Listing:
    """Sort files into classes by the folders that they are in."""
    visible = [(PurePosixPath(name), read) for name, read in found if not _hidden(name)]
    depth = _wrappers(path for path, _ in visible)
    prescribed = _prescribed([path.parts[depth:-1] for path, _ in visible])
    listing = Listing([])
    for path, read in visible:
        inside = path.parts[depth:-1]
        split = _side(inside[0]) if prescribed and inside else None
        folders = inside[1:] if prescribed else inside
        if prescribed and inside and split is None:
            listing.skipped.append((str(path), "beside train, val and test"))
        elif folders:
            listing.entries.append(Entry(str(path), folders[0], split, read))
        else:
            listing.skipped.append((str(path), "not in a class folder"))
    return listing


def _prescribed(folders: Sequence[tuple[str, ...]]) -> bool:
    """Return whether folders lie in the parts of a split: none lies elsewhere, or a class is in two of the parts.

    A lone class called train, of vehicles say, is no part.
    """
    sides = {_side(names[0]) for names in folders if names}
    if 0 in sides and None not in sides:
        return True
    classes = {(_side(names[0]), names[1]) for names in folders if len(names) > 1}
    parts = Counter(name for side, name in classes if side is not None)
    return any(count > 1 for count in parts.values())


def _side(folder: str) -> int | None:
    return SPLIT_NAMES.get(folder.lower())


def _hidden(name: str) -> bool:
    """Return whether a file is none of the user's: hidden files, and what systems leave in folders and zips."""
    parts = PurePosixPath(name).parts
    return any(part.startswith(".") for part in parts) or parts[0] == "__MACOSX" or parts[-1] in _LITTER


_LITTER = {"Thumbs.db", "desktop.ini"}


def _wrappers(paths: Iterator[PurePosixPath]) -> int:
    """Return how many folders wrap the classes: flowers.zip often holds flowers/daisy/..., not daisy/..."""
    parents = {path.parts[:-1] for path in paths}
    depth = 0
    while True:
        tops = {parts[depth] for parts in parents if len(parts) > depth}
        if len(tops) != 1:
            # No fork all the way down: the last folder is the only class.
            return depth if tops else max(depth - 1, 0)
        depth += 1


def _from_zip(source: Path) -> Listing:
    stack = ExitStack()
    try:
        archive = stack.enter_context(zipfile.ZipFile(source))
    except (zipfile.BadZipFile, OSError) as error:
        raise DataError(f"{str(source)!r} is not a zip file: {error}") from None
    members = [member for member in archive.infolist() if not member.is_dir()]
    if len(members) > MAX_ENTRIES:
        stack.close()
        raise DataError(f"{str(source)!r} holds {len(members):,} files, more than {MAX_ENTRIES:,}")
    found, skipped = [], []
    for member in sorted(members, key=lambda member: member.filename):
        # Older Windows tools write backslashes between folders, against the format's rules.
        path = PurePosixPath(member.filename.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts:
            skipped.append((member.filename, "its name points outside the zip"))
        else:
            found.append((str(path), _member_reader(archive, member)))
    listing = _from_tree(found)
    return Listing(listing.entries, [*skipped, *listing.skipped], stack)


def _member_reader(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Callable[[], bytes]:
    def read() -> bytes:
        if member.flag_bits & 1:
            raise PhotoError("encrypted")
        # What the header says may be a lie, so reading stops at the limit as well.
        ratio_limit = max(RATIO_FROM_BYTES, MAX_RATIO * member.compress_size)
        limit = min(MAX_FILE_BYTES, ratio_limit)
        try:
            with archive.open(member) as stream:
                data = stream.read(limit + 1)
        except (zipfile.BadZipFile, OSError, RuntimeError, NotImplementedError, EOFError, ValueError) as error:
            raise PhotoError(f"cannot be unpacked: {error}") from None
        except Exception as error:
            # zlib.error and lzma.LZMAError have no common base but Exception.
            if type(error).__module__ not in ("zlib", "_lzma"):
                raise
            raise PhotoError(f"cannot be unpacked: {error}") from None
        if len(data) > limit:
            raise PhotoError(f"a zip bomb: unpacks to more than {limit // 1_000_000} MB")
        return data

    return read


def _from_csv(source: Path) -> Listing:
    try:
        text = source.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{str(source)!r} cannot be read: {error}") from None
    rows = list(csv.reader(text.splitlines(), delimiter=_delimiter(text)))
    if not rows:
        raise DataError(f"{str(source)!r} is empty", hint="Give lines of path,label.")
    header = [name.strip().lower() for name in rows[0]]
    path_at = next((i for i, name in enumerate(header) if name in ("path", "file", "filename", "image")), None)
    label_at = next((i for i, name in enumerate(header) if name in ("label", "class", "category")), None)
    split_at = next((i for i, name in enumerate(header) if name == "split"), None)
    first = 1
    if path_at is None or label_at is None:
        path_at, label_at, split_at, first = 0, 1, None, 0
    listing = Listing([])
    for number, row in enumerate(rows[first:], first + 1):
        if not any(cell.strip() for cell in row):
            continue
        where = f"{source.name}:{number}"
        if len(row) <= max(path_at, label_at, split_at or 0):
            listing.skipped.append((where, f"has {len(row)} columns"))
            continue
        name, label = row[path_at].strip(), row[label_at].strip()
        side = row[split_at].strip().lower() if split_at is not None else ""
        if not name or not label:
            listing.skipped.append((where, "has no path or no label"))
        elif side and side not in SPLIT_NAMES:
            listing.skipped.append((where, f"split {side!r} is none of train, val, test"))
        else:
            split = SPLIT_NAMES[side] if side else None
            listing.entries.append(Entry(name, label, split, _reader(source.parent / name)))
    return listing


def _delimiter(text: str) -> str:
    head = text.splitlines()[0] if text.strip() else ","
    return max(",;\t", key=head.count)

"""Reading a bundle's files when nobody vouches for them: nothing in here, or reached from here, can run their code.

The rules: only the four files of a bundle may lie in the folder, each a regular file (a link could point anywhere),
each of the size and SHA-256 that model.json records, read once and used from memory. Weights are parsed as safetensors,
the graph as ONNX with standard operators only, no control flow, no data in other files. Pickle, zip, torch and NumPy
archives are recognised only to say why they are refused; no code path opens one.

Not guaranteed: bounded time. A graph of honest operators can still be huge; the sizes in model.json are the only limit.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from inksight.errors import BundleError, NotFoundError

MEMBERS = ("model.safetensors", "model.json", "model.onnx", "README.md")
"""Everything that may lie in a bundle folder."""

_SIGNATURES = {
    b"PK\x03\x04": "a zip archive, as torch.save and torch.export write (they can hold a pickle)",
    b"\x1f\x8b": "a gzip file",
    b"\x93NUMPY": "a NumPy file",
    b"\x89HDF": "an HDF5 file",
    b"\x7fELF": "a program",
    b"MZ": "a Windows program",
    b"#!": "a script",
}


def check_folder(folder: Path) -> None:
    """Check that `folder` is a directory holding a bundle's files and nothing else, none of them a link."""
    if not folder.exists():
        raise NotFoundError(f"there is no bundle at {str(folder)!r}", hint="A bundle is a folder with a model.json.")
    if not folder.is_dir():
        raise BundleError(
            f"{str(folder)!r} is a file ({what_is(_head(folder))}), not a bundle",
            hint="A bundle is a folder with model.json, model.safetensors and model.onnx; no other format is loaded.",
        )
    present = sorted(os.listdir(folder))
    missing = [name for name in MEMBERS if name != "README.md" and name not in present]
    if missing:
        raise BundleError(f"{str(folder)!r} is not a bundle: {', '.join(missing)} missing")
    for name in present:
        if name not in MEMBERS:
            path = folder / name
            kind = what_is(_head(path)) if path.is_file() and not path.is_symlink() else "not a regular file"
            raise BundleError(
                f"{str(folder)!r} holds {name!r} ({kind}), which is no part of a bundle",
                hint=f"Only {', '.join(MEMBERS)} may be there. Remove it if you know where it comes from.",
            )
        if not stat.S_ISREG(os.lstat(folder / name).st_mode):
            raise BundleError(f"{str(folder)!r}: {name} is a link or a special file, not a regular file")
    # Never opened by Inksight, but a person might be led to: a card is text.
    if "README.md" in present and (kind := what_is(_head(folder / "README.md"))) not in ("something else", "empty"):
        raise BundleError(f"{str(folder)!r}: README.md is {kind}")


def read_limited(folder: Path, name: str, limit: int) -> bytes:
    """Return the bytes of one file of the bundle; raises BundleError when it is longer than `limit`."""
    path = folder / name
    try:
        # O_NOFOLLOW: a link put there after check_folder is refused as well.
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    except FileNotFoundError:
        raise BundleError(f"{str(folder)!r} is not a bundle: {name} missing") from None
    except OSError as error:
        raise BundleError(f"{str(path)!r} cannot be read: {error.strerror}") from None
    with os.fdopen(handle, "rb") as stream:
        if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
            raise BundleError(f"{str(path)!r} is not a regular file")
        data = stream.read(limit + 1)
    if len(data) > limit:
        raise BundleError(f"{str(path)!r} is longer than {limit:,} bytes")
    return data


def read_recorded(folder: Path, name: str, description: dict[str, Any]) -> bytes:
    """Return the bytes of a file whose size and SHA-256 are those in model.json; raises BundleError otherwise."""
    entry = description["files"][name]
    actual = (folder / name).stat().st_size if (folder / name).exists() else 0
    if actual != entry["bytes"]:
        raise BundleError(
            f"{str(folder)!r}: {name} has {actual:,} bytes, model.json says {entry['bytes']:,}",
            hint="The bundle is damaged, or its files come from different models.",
        )
    data = read_limited(folder, name, entry["bytes"])
    if hashlib.sha256(data).hexdigest() != entry["sha256"]:
        raise BundleError(
            f"{str(folder)!r}: {name} does not have the SHA-256 that model.json records",
            hint="The bundle is damaged, or its files come from different models.",
        )
    return data


def read_weights(data: bytes, where: str) -> dict[str, Any]:
    """Parse the bytes of a safetensors file into torch tensors; raises BundleError for anything else."""
    check_safetensors(data, where)
    import safetensors
    import safetensors.torch

    try:
        return safetensors.torch.load(data)
    except (safetensors.SafetensorError, ValueError, KeyError, RuntimeError) as error:
        raise BundleError(f"{where}: model.safetensors is not a safetensors file ({error})") from None


def check_safetensors(data: bytes, where: str) -> None:
    """Check that the bytes begin like a safetensors file: a header length, then a JSON object; needs no torch."""
    length = int.from_bytes(data[:8], "little")
    problem = f"{where}: model.safetensors is not a safetensors file but {what_is(data[:512])}"
    if len(data) < 10 or length > len(data) - 8 or length > 100_000_000 or data[8:9] != b"{":
        raise BundleError(problem)
    try:
        header = json.loads(data[8 : 8 + length])
    except (ValueError, RecursionError):
        raise BundleError(problem) from None
    if not isinstance(header, dict):
        raise BundleError(problem)


def check_onnx(data: bytes, description: dict[str, Any], where: str) -> None:
    """Check that the bytes are an ONNX graph that is safe to run and has the bundle's inputs and outputs.

    Raises BundleError for: data in another file, a foreign operator domain, local functions, control flow (which may
    never end), an input that is not uint8 images of the recorded shape, an output that is not one number per class.
    """
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model = onnx.ModelProto.FromString(data)
    except DecodeError:
        raise BundleError(f"{where}: model.onnx is not an ONNX file but {what_is(data[:512])}") from None
    if not model.graph.node or not model.opset_import:
        raise BundleError(f"{where}: model.onnx is not an ONNX file but {what_is(data[:512])}")

    domains = {entry.domain for entry in model.opset_import} | {node.domain for node in model.graph.node}
    if foreign := sorted(domains - {"", "ai.onnx"}):
        raise BundleError(
            f"{where}: model.onnx uses operators of {', '.join(map(repr, foreign))}",
            hint="Only the standard ONNX operators are run.",
        )
    if model.functions or model.training_info:
        raise BundleError(f"{where}: model.onnx defines functions of its own")
    for node in model.graph.node:
        if any(a.type in (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS) for a in node.attribute):
            raise BundleError(f"{where}: model.onnx holds control flow ({node.op_type}), which is not run")
    for tensor in _tensors(model.graph):
        if tensor.external_data or tensor.data_location == onnx.TensorProto.EXTERNAL:
            places = [e.value for e in tensor.external_data if e.key == "location"] or ["another file"]
            raise BundleError(
                f"{where}: model.onnx takes the tensor {tensor.name!r} from {places[0]!r}, outside itself"
            )
    _check_signature(model, description, where)


def what_is(head: bytes) -> str:
    """Say in words what a file is that begins with `head`; only for error messages."""
    if head[:1] == b"\x80" and head[1:2] <= b"\x05":
        return "a Python pickle, which could run any code"
    for signature, words in _SIGNATURES.items():
        if head.startswith(signature):
            return words
    if head[257:262] == b"ustar":
        return "a tar archive"
    # Protocol 0 and 1 pickles are text; a global look-up ("c" module, newline, name) or a mark opens most of them.
    if head[:1] in (b"c", b"(", b"}", b"]") and b"\n" in head[:80] and (b"\nR" in head or head.rstrip()[-1:] == b"."):
        return "a Python pickle, which could run any code"
    return "something else" if head else "empty"


def _tensors(graph: Any) -> Iterator[Any]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    for node in graph.node:
        for attribute in node.attribute:
            yield attribute.t
            yield from attribute.tensors
            for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
                yield from (sparse.values, sparse.indices)


def _check_signature(model: Any, description: dict[str, Any], where: str) -> None:
    import onnx

    constants = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in constants]
    if len(inputs) != 1 or len(model.graph.output) != 1:
        raise BundleError(f"{where}: model.onnx must have one input and one output")
    wanted = (
        ("input", inputs[0], onnx.TensorProto.UINT8, "uint8", description["preprocessing"]["input_shape"]),
        ("output", model.graph.output[0], onnx.TensorProto.FLOAT, "float32", [len(description["classes"])]),
    )
    for what, value, kind, words, shape in wanted:
        tensor = value.type.tensor_type
        dims = tensor.shape.dim
        found = [dim.dim_value for dim in dims[1:]]
        if tensor.elem_type != kind or found != list(shape) or not dims[0].dim_param:
            raise BundleError(f"{where}: model.onnx's {what} is not {words} (any, {', '.join(map(str, shape))})")


def _head(path: Path) -> bytes:
    if not stat.S_ISREG(os.stat(path).st_mode):
        return b""
    with open(path, "rb") as stream:
        return stream.read(512)

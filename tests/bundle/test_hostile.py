"""Bundles made to harm: real payloads that would create a file, links, traversals, graphs that reach outside.

Each forgery is given correct sizes and checksums, so that it gets as far as an attacker can take it.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import pickle
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import safetensors.torch
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from inksight.bundle import describe, load
from inksight.bundle.description import MAX_BYTES
from inksight.bundle.files import what_is
from inksight.errors import BundleError, InksightError


class Payload:
    """Creates the file `marker` as soon as it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return os.system, (f"touch '{self.marker}'",)


def _zip(marker: Path) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(Payload(marker)))
    return stream.getvalue()


def _torch(marker: Path) -> bytes:
    stream = io.BytesIO()
    torch.save({"weights": Payload(marker)}, stream)
    return stream.getvalue()


def _numpy(marker: Path) -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.array([Payload(marker)], dtype=object), allow_pickle=True)
    return stream.getvalue()


def _npz(marker: Path) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, weights=np.array([Payload(marker)], dtype=object))
    return stream.getvalue()


FORGERIES: dict[str, Callable[[Path], bytes]] = {
    **{
        f"pickle {protocol}": lambda marker, protocol=protocol: pickle.dumps(Payload(marker), protocol)  # type: ignore[misc]
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1)
    },
    "torch.save": _torch,
    "zip": _zip,
    "npy": _numpy,
    "npz": _npz,
    "gzip": lambda marker: gzip.compress(pickle.dumps(Payload(marker))),
}

each_forgery = pytest.mark.parametrize("forgery", FORGERIES)


def forge(bundle: Path, name: str, data: bytes) -> None:
    """Replace one file of a bundle and record its new size and checksum."""
    (bundle / name).write_bytes(data)
    if name in ("model.onnx", "model.safetensors"):
        description = json.loads((bundle / "model.json").read_text())
        description["files"][name] = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        (bundle / "model.json").write_text(json.dumps(description))


@each_forgery
def test_the_payloads_are_real(forgery: str, tmp_path: Path) -> None:
    """A refusal proves something only if the payload works on whoever does unpickle it."""
    marker = tmp_path / "owned"
    data = FORGERIES[forgery](marker)
    if forgery == "gzip":
        data = gzip.decompress(data)
    if forgery == "torch.save":
        torch.load(io.BytesIO(data), weights_only=False)
    elif forgery == "zip":
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            pickle.loads(archive.read("archive/data.pkl"))  # noqa: S301
    elif forgery in ("npy", "npz"):
        loaded = np.load(io.BytesIO(data), allow_pickle=True)
        _ = loaded if forgery == "npy" else loaded["weights"]
    else:
        pickle.loads(data)  # noqa: S301
    assert marker.exists()


@each_forgery
@pytest.mark.parametrize("name", ["model.safetensors", "model.onnx", "model.json", "README.md"])
def test_a_pickle_under_a_bundles_own_names_is_refused(bundle: Path, tmp_path: Path, forgery: str, name: str) -> None:
    marker = tmp_path / "owned"
    forge(bundle, name, FORGERIES[forgery](marker))
    for runtime in ("onnx", "torch"):
        with pytest.raises(BundleError, match=name):
            load(bundle, runtime=runtime)
    assert not marker.exists()


@each_forgery
@pytest.mark.parametrize(
    "name", ["weights.pt", "model.pkl", "model.bin", "model.npz", "model.joblib", "__init__.py", "model.onnx.data", "x"]
)
def test_a_pickle_beside_a_bundles_files_is_refused(bundle: Path, tmp_path: Path, forgery: str, name: str) -> None:
    marker = tmp_path / "owned"
    (bundle / name).write_bytes(FORGERIES[forgery](marker))
    with pytest.raises(BundleError, match="no part of a bundle") as caught:
        load(bundle)
    assert name in caught.value.message
    assert "pickle" in caught.value.message or forgery in ("npy", "npz", "zip", "gzip", "torch.save")
    assert not marker.exists()


@each_forgery
@pytest.mark.parametrize("name", ["model.pt", "model.zip", "model.safetensors", "model"])
def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path, forgery: str, name: str) -> None:
    marker = tmp_path / "owned"
    (tmp_path / name).write_bytes(FORGERIES[forgery](marker))
    with pytest.raises(BundleError, match="not a bundle"):
        load(tmp_path / name)
    assert not marker.exists()


def test_a_pickle_of_every_protocol_is_called_one(tmp_path: Path) -> None:
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        assert "pickle" in what_is(pickle.dumps(Payload(tmp_path / "x"), protocol))


def test_the_command_line_refuses_with_one_clear_line(bundle: Path, tmp_path: Path) -> None:
    marker = tmp_path / "owned"
    forge(bundle, "model.safetensors", pickle.dumps(Payload(marker)))
    done = subprocess.run(
        [sys.executable, "-m", "inksight", "predict", str(bundle), "x.png"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "Python pickle" in done.stderr
    assert "Traceback" not in done.stderr
    assert not marker.exists()


def test_a_safetensors_file_that_lies_about_itself_is_refused(bundle: Path) -> None:
    weights = (bundle / "model.safetensors").read_bytes()
    header = int.from_bytes(weights[:8], "little")
    for data in (
        weights[:-1],
        weights + b"extra",
        (2**40).to_bytes(8, "little") + weights[8:],
        weights[:8] + b"[" + weights[9:],
        b"",
        weights[:8] + b"{" * header + weights[8 + header :],
        safetensors.torch.save({"head.weight": torch.zeros(3, 3)}),
    ):
        if data:
            forge(bundle, "model.safetensors", data)
        else:
            (bundle / "model.safetensors").write_bytes(data)
        with pytest.raises(BundleError):
            load(bundle, runtime="torch")


def _edit(bundle: Path, change: Callable[[onnx.ModelProto], None]) -> None:
    model = onnx.load_from_string((bundle / "model.onnx").read_bytes())
    change(model)
    forge(bundle, "model.onnx", model.SerializeToString())


def _outside(location: str) -> Callable[[onnx.ModelProto], None]:
    def change(model: onnx.ModelProto) -> None:
        tensor = model.graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=location)

    return change


def _foreign(domain: str, op: str) -> Callable[[onnx.ModelProto], None]:
    def change(model: onnx.ModelProto) -> None:
        model.opset_import.append(helper.make_opsetid(domain, 1))
        model.graph.node.append(helper.make_node(op, ["images"], ["other"], domain=domain))

    return change


def _endless(model: onnx.ModelProto) -> None:
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["go_on"])],
        "body",
        [helper.make_tensor_value_info("i", 7, []), helper.make_tensor_value_info("go", 9, [])],
        [helper.make_tensor_value_info("go_on", 9, [])],
    )
    model.graph.initializer.append(helper.make_tensor("yes", 9, [], [True]))
    model.graph.node.append(helper.make_node("Loop", ["", "yes"], [], body=body))


def _function(model: onnx.ModelProto) -> None:
    opsets = [helper.make_opsetid("", 20)]
    model.functions.append(
        helper.make_function("mine", "f", ["x"], ["y"], [helper.make_node("Relu", ["x"], ["y"])], opsets)
    )


def _constant_outside(model: onnx.ModelProto) -> None:
    tensor = helper.make_tensor("c", 1, [1], [0.0])
    tensor.ClearField("float_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")
    model.graph.node.append(helper.make_node("Constant", [], ["c"], value=tensor))


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (_outside("/etc/passwd"), "outside itself"),
        (_outside("../../secret.bin"), "outside itself"),
        (_outside("model.safetensors"), "outside itself"),
        (_constant_outside, "outside itself"),
        (_foreign("com.evil", "Shell"), "com.evil"),
        (_foreign("com.microsoft", "EPContext"), "com.microsoft"),
        (_foreign("ai.onnx.contrib", "PyOp"), "ai.onnx.contrib"),
        (_endless, "control flow"),
        (_function, "functions of its own"),
    ],
)
def test_a_graph_that_reaches_outside_is_refused(
    bundle: Path, change: Callable[[onnx.ModelProto], None], problem: str
) -> None:
    _edit(bundle, change)
    with pytest.raises(BundleError, match=problem):
        load(bundle)


def test_a_graph_with_another_signature_is_refused(bundle: Path) -> None:
    def wider(model: onnx.ModelProto) -> None:
        model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 14

    def floats(model: onnx.ModelProto) -> None:
        model.graph.input[0].type.tensor_type.elem_type = TensorProto.FLOAT

    def fixed(model: onnx.ModelProto) -> None:
        model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1

    original = (bundle / "model.onnx").read_bytes()
    for change in (wider, floats, fixed):
        forge(bundle, "model.onnx", original)
        _edit(bundle, change)
        with pytest.raises(BundleError, match="input is not uint8"):
            load(bundle)


def test_a_graph_that_cannot_run_is_refused(bundle: Path) -> None:
    _edit(bundle, lambda model: model.graph.node.append(helper.make_node("Relu", ["nowhere"], ["z"])))
    with pytest.raises(BundleError, match="cannot be run"):
        load(bundle)


@pytest.mark.parametrize("name", ["model.safetensors", "model.onnx", "model.json"])
def test_links_and_special_files_are_refused(bundle: Path, tmp_path: Path, name: str) -> None:
    outside = tmp_path / "outside"
    outside.write_bytes((bundle / name).read_bytes())
    (bundle / name).unlink()
    (bundle / name).symlink_to(outside)
    with pytest.raises(BundleError, match="link"):
        load(bundle)
    with pytest.raises(BundleError):
        describe(bundle) if name == "model.json" else load(bundle)
    (bundle / name).unlink()
    os.mkfifo(bundle / name)
    with pytest.raises(BundleError, match="special file"):
        load(bundle)
    (bundle / name).unlink()
    (bundle / name).mkdir()
    with pytest.raises(BundleError, match="special file"):
        load(bundle)


@pytest.mark.parametrize("name", ["model.safetensors", "model.onnx", "model.json"])
def test_a_missing_or_damaged_file_is_named(bundle: Path, name: str) -> None:
    data = bytearray((bundle / name).read_bytes())
    data[len(data) // 2] ^= 1
    (bundle / name).write_bytes(data)
    if name != "model.json":
        with pytest.raises(BundleError, match=f"{name} does not have the SHA-256"):
            load(bundle)
        (bundle / name).write_bytes(data[:-1])
        with pytest.raises(BundleError, match=f"{name} has .* bytes, model.json says"):
            load(bundle)
    (bundle / name).unlink()
    with pytest.raises(BundleError, match=f"{name} missing"):
        load(bundle)


@pytest.mark.parametrize(
    ("path", "value", "problem"),
    [
        (["files", "../../etc/passwd"], {"bytes": 1, "sha256": "0" * 64}, "must list exactly"),
        (["files", "model.onnx", "sha256"], "../" * 21 + "x", "SHA-256"),
        (["architecture", "name"], "../../evil", "not the name"),
        (["architecture", "name"], "/tmp/evil", "not the name"),
        (["architecture", "name"], "transfer/hf-hub:evil/net", "not the name"),
        (["architecture", "name"], "transfer/local-dir:..", "not the name"),
        (["preprocessing", "input_shape"], [2**31, 2**31], "whole numbers"),
        (["preprocessing", "std"], [0.0], "positive"),
        (["classes"], [], "list of 1"),
        (["format_version"], 2, "newer"),
        (["format"], "other", "must be 'inksight-bundle'"),
        (["kind"], "audio", "drawing, photo"),
        (["name"], "../../evil", "not a path"),
        (["name"], "red\x1b]0;evil\x07", "control characters"),
        (["classes", 0], "\x1b[31mred", "control characters"),
        (["classes", 0], "a\nb", "control characters"),
        (["classes", 0], "\ud800x", "half characters"),
        (["architecture", "parameters"], "many", "whole number"),
        (["metrics"], {"accuracy": "high"}, "from 0 to 1"),
        (["metrics"], {"accuracy": 2}, "from 0 to 1"),
        (["metrics"], {"accuracy": 0.5, "accuracy_interval": "x"}, "two numbers"),
        (["metrics"], {"accuracy": 0.5, "samples": "x"}, "whole number"),
        (["metrics"], {"per_class": 7}, "must be an object"),
        (["metrics"], {"per_class": {"cat": {"accuracy": "x", "samples": 1}}}, "from 0 to 1"),
        (["metrics"], {"per_class": {"cat": {"accuracy": 0.5}}}, "whole number"),
        (["metrics"], {"worst_class": {"class": 1}}, "must be a text"),
        (["metrics"], {"worst_class": {"class": "cat"}}, "finite number"),
        (["parity", "max_difference"], "none", "finite number"),
        (["parity", "real"], "x", "true or false"),
        (["dataset", "sha256"], 5, "must be a text"),
        (["dataset", "name"], {"a": 1}, "must be a text"),
        (["derived"], 5, "list of objects"),
        (["limits"], 3, "list of texts"),
    ],
)
def test_a_description_out_of_bounds_is_refused(bundle: Path, path: list[str], value: Any, problem: str) -> None:
    description = json.loads((bundle / "model.json").read_text())
    place = description
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    (bundle / "model.json").write_text(json.dumps(description))
    with pytest.raises(BundleError, match=problem):
        load(bundle)


@pytest.mark.parametrize(
    "data",
    [
        b" " * (MAX_BYTES + 1),
        b"[" * 200_000,
        b"\xff\xfe",
        b"",
        b"null",
        b"[]",
        b'{"format": NaN}',
        b'"inksight-bundle"',
    ],
)
def test_a_description_that_is_no_description_is_refused(bundle: Path, data: bytes) -> None:
    (bundle / "model.json").write_bytes(data)
    with pytest.raises(BundleError, match=r"model\.json"):
        load(bundle)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_description_causes_anything_but_a_clear_refusal(bundle: Path, saved: Path, data: st.DataObject) -> None:
    description = json.loads((saved / "model.json").read_text())
    place: Any = description
    while True:
        key = data.draw(st.sampled_from(sorted(place))) if isinstance(place, dict) else len(place) - 1
        if isinstance(place[key], dict | list) and place[key] and data.draw(st.booleans()):
            place = place[key]
            continue
        place[key] = data.draw(json_values)
        break
    (bundle / "model.json").write_text(json.dumps(description))
    for runtime in ("onnx", "torch"):
        try:
            model = load(bundle, runtime=runtime)
        except InksightError as error:
            assert isinstance(error, BundleError)  # noqa: PT017
            continue
        assert model.predict_proba(np.zeros((1, 28, 28), np.uint8)).shape == (1, len(model.classes))

"""Loading a bundle: find the folder, check everything, start a runtime. See files.py for what is refused.

Not guaranteed: that the answers are good; `inksight evaluate` measures that.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from inksight.bundle.classifier import Classifier
from inksight.bundle.description import describe
from inksight.bundle.files import check_folder, check_onnx, check_safetensors, read_recorded
from inksight.errors import BundleError, NotFoundError, UsageError, nearest
from inksight.workspace import workspace

if TYPE_CHECKING:
    from inksight.bundle.parity import Predict

BUILT_IN = ("doodles",)
RUNTIMES = ("onnx", "torch")


def locate(path_or_name: str | Path) -> Path:
    """Return the folder of a bundle: a built-in name (write ./doodles for a folder so called), a path, or a run's name.

    A run's folder stands for the bundle in it. Names in the registry are resolved by the registry room, which calls
    this for the rest.
    """
    name = str(path_or_name)
    if name in BUILT_IN:
        return Path(__file__).parent / name
    folder = Path(path_or_name).expanduser()
    if not folder.exists() and Path(name).name == name:
        folder = workspace().runs / name
    if not folder.exists():
        near = nearest(name, [*BUILT_IN, *(run.parent.name for run in workspace().runs.glob("*/bundle"))])
        raise NotFoundError(
            f"there is no model {name!r}",
            hint=(f"Did you mean {', '.join(near)}? " if near else "")
            + "Give the path of a bundle, the --name of a finished training run, or a built-in model: "
            f"{', '.join(BUILT_IN)}.",
        )
    if (folder / "settings.json").is_file() and (folder / "bundle").is_dir():
        return folder / "bundle"
    return folder


def load(path_or_name: str | Path, *, runtime: str = "onnx", threads: int = 1) -> Classifier:
    """Load a bundle and return it ready to answer; nothing in the bundle can run code.

    `runtime`: "onnx" (ONNX Runtime, fast) or "torch" (the float32 weights in PyTorch, for comparison and research).
    `threads`: per prediction, for ONNX Runtime; 0 takes all cores that the process may use. PyTorch's own setting is
    left alone. The classifier's `threads` are those that it really computes with.
    Raises NotFoundError when there is no such bundle and BundleError when it is damaged, unsafe or contradicts itself.
    """
    if runtime not in RUNTIMES:
        raise UsageError(f"runtime {runtime!r} is not valid", hint=f"Choose one of: {', '.join(RUNTIMES)}")
    if threads < 0:
        raise UsageError(f"threads {threads} is not valid", hint="Give the number of threads, or 0 for all cores.")
    folder = locate(path_or_name)
    check_folder(folder)
    description = describe(folder)
    where = str(folder)
    check_safetensors(read_recorded(folder, "model.safetensors", description), where)
    graph = read_recorded(folder, "model.onnx", description)
    check_onnx(graph, description, where)
    if runtime == "onnx":
        if threads == 0:  # counted here: ONNX Runtime does not say how many its own 0 stands for
            from inksight.data.parallel import cores

            threads = cores()
        return Classifier(folder, description, onnx_runner(graph, threads, where), runtime, threads)
    import torch

    from inksight.bundle.network import read_network

    run = torch_runner(read_network(folder, description))
    return Classifier(folder, description, run, runtime, torch.get_num_threads())


def onnx_runner(graph: bytes, threads: int, where: str) -> Predict:
    """Return a function uint8 (N, H, W[, 3]) -> float32 (N, classes) that runs the ONNX graph on the CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Spinning threads make the next call 10 us faster and keep a core busy for nothing in between.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        # onnxruntime's errors share no base class below Exception.
        raise BundleError(f"{where}: model.onnx cannot be run: {error}") from error
    outputs = [session.get_outputs()[0].name]
    name = session.get_inputs()[0].name
    run = session.run
    defaults = onnxruntime.RunOptions()  # else made anew for each call: 1.5 us of 100

    def predict(images: Any) -> Any:
        return run(outputs, {name: images}, defaults)[0]

    return predict


def torch_runner(network: Any) -> Predict:
    """Return a function uint8 (N, H, W[, 3]) -> float32 (N, classes) that runs a PyTorch network where it lies."""
    import torch

    def predict(images: Any) -> Any:
        with torch.inference_mode():
            return network(torch.from_numpy(np.array(images))).numpy()

    return predict

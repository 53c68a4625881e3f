"""From a PyTorch network to an ONNX graph, by torch's dynamo exporter."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from inksight.errors import BundleError

INPUT = "images"
OUTPUT = "probabilities"
PREPROCESS = "preprocess/"


def to_onnx(network: nn.Module, description: Mapping[str, Any]) -> bytes:
    """Return the network as a serialised ONNX model: `images` uint8 (batch, H, W[, 3]) -> `probabilities` float32.

    The batch is dynamic. Names and class list are stored in the graph's metadata, so that the file explains itself.
    Raises BundleError when the exporter cannot express the network.
    """
    # A batch of 1 would be taken for a constant and baked in; 2 is the smallest that stays dynamic.
    example = torch.zeros((2, *description["preprocessing"]["input_shape"]), dtype=torch.uint8)
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            # torch 2.13 warns about its own internals (pytree's LeafSpec, copyreg) during every export.
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                network.eval(),
                (example,),
                dynamo=True,
                input_names=[INPUT],
                output_names=[OUTPUT],
                dynamic_shapes=({0: torch.export.Dim("batch")},),
                verbose=False,
            )
    except (torch.onnx.OnnxExporterError, RuntimeError) as error:
        raise BundleError(f"the model cannot be expressed in ONNX: {error}") from error
    finally:
        logger.setLevel(level)
    if program is None:
        raise BundleError("the model cannot be expressed in ONNX: the exporter returned nothing")
    return serialise(program.model_proto, description)


def serialise(model: Any, description: Mapping[str, Any]) -> bytes:
    """Return the bytes of an ONNX model without tool leftovers and with the bundle's name and classes as metadata."""
    import onnx
    import onnx.inliner

    if model.functions:
        model = onnx.inliner.inline_local_functions(model)
    graph = model.graph
    for number, node in enumerate(graph.node):
        scopes = {entry.key: entry.value for entry in node.metadata_props}.get("pkg.torch.onnx.name_scopes", "")
        # Quantisation must leave the preprocessing alone and knows it by this name.
        inside = repr("preprocess") in scopes or node.name.startswith(PREPROCESS)
        node.name = f"{PREPROCESS if inside else ''}{node.op_type}_{number}"
    # The exporter notes stack traces, which hold the paths of the machine that trained, on every node and value.
    for part in (model, graph, *graph.node, *graph.value_info, *graph.input, *graph.output, *graph.initializer):
        del part.metadata_props[:]
        part.doc_string = ""
    used = {node.domain for node in graph.node} | {""}
    kept = [entry for entry in model.opset_import if entry.domain in used]
    del model.opset_import[:]
    model.opset_import.extend(kept)
    model.producer_name, model.producer_version, model.domain = "inksight", "", ""
    graph.name = "classifier"
    facts = {"name": description["name"], "kind": description["kind"], "classes": json.dumps(description["classes"])}
    onnx.helper.set_model_props(model, facts)
    data: bytes = model.SerializeToString()
    return data

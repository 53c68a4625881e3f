"""Measure the shipped model `doodles` again, with what an evaluation tells by now; nothing is trained or exported.

    .venv/bin/python scripts/doodles_data.py doodles.npz --data ../shared/data
    .venv/bin/python scripts/measure_doodles.py doodles.npz

The test part is dealt by a hash of each source's content, so it is what the model has never learnt from, whatever
became faster or finer in drawing it since; its numbers and the confusion matrix come from one run. What only
judge_doodles.py measures (raw strokes, pens, pictures) stays as it was.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from judge_doodles import FOLDER

import inksight
from inksight.bundle.saving import write_files
from inksight.evaluation.judging import judge


def main() -> None:
    """Measure, print, and write the description and the card."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("prepared", type=Path)
    options = parser.parse_args()
    data = np.load(options.prepared, allow_pickle=False)
    test = data["parts"] == "test"
    model = inksight.load(FOLDER)
    if [str(name) for name in data["classes"]] != model.classes:
        raise SystemExit("the prepared drawings have other classes than the model")
    description = json.loads((FOLDER / "model.json").read_text(encoding="utf-8"))
    found = judge(data["labels"][test], model.predict_proba(data["images"][test]), model.classes).summary
    before = description["metrics"]["accuracy"]
    description["metrics"] |= found | {"samples": int(test.sum())}
    weights, graph = ((FOLDER / name).read_bytes() for name in ("model.safetensors", "model.onnx"))
    write_files(FOLDER, description, weights, graph)
    print(f"accuracy {before:.4f} -> {found['accuracy']:.4f} of {test.sum():,} drawings")


if __name__ == "__main__":
    main()

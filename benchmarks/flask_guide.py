"""The service that the guides would write around the same bundle: Flask, Pillow, `model(x)`. For http_latency.py.

    pip install flask waitress

Served by waitress: Flask's own server closes every connection, and opening one costs more than the model.
"""

from __future__ import annotations

import base64
import io
import sys

import numpy as np
import torch
from flask import Flask, jsonify, request
from PIL import Image, ImageOps
from waitress.server import create_server

import inksight

bundle = inksight.load(sys.argv[1])
network = bundle.network().eval()
app = Flask(__name__)


@app.post("/predict")
def predict():  # type: ignore[no-untyped-def]
    """Decode the picture, shrink it to 28 x 28 and ask the model."""
    data = request.get_json()["image"].split(",")[1]
    image = ImageOps.invert(Image.open(io.BytesIO(base64.b64decode(data))).convert("L")).resize((28, 28))
    with torch.no_grad():
        probabilities = network(torch.from_numpy(np.array(image)[None]))[0]
    best = int(probabilities.argmax())
    return jsonify(
        {"predictions": [{"class": bundle.classes[best], "confidence": float(probabilities[best])}], "success": True}
    )


if __name__ == "__main__":
    server = create_server(app, host="127.0.0.1", port=0)
    print(f"Running on http://127.0.0.1:{server.effective_port}", file=sys.stderr, flush=True)
    server.run()

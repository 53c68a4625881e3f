"""The service that the guides would write around the same bundle: Flask, Pillow, `model(x)`. For http_latency.py."""

from __future__ import annotations

import base64
import io
import sys

import numpy as np
import torch
from flask import Flask, jsonify, request
from PIL import Image, ImageOps
from werkzeug.serving import WSGIRequestHandler

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
    # Connections stay open, as for the other side: opening one for each request would cost more than the model.
    WSGIRequestHandler.protocol_version = "HTTP/1.1"
    app.run(port=0)

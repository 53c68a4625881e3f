"""Train the built-in model `doodles` and write its bundle.

    .venv/bin/python scripts/doodles_data.py doodles.npz --data ../shared/data
    .venv/bin/python scripts/train_doodles.py doodles.npz --weights doodles.safetensors --before doodles --minutes 60
    .venv/bin/python scripts/judge_doodles.py doodles.npz --weights doodles.safetensors --data ../shared/data

Choices are made on the validation part; the test part is only looked at by judge_doodles.py, which writes the bundle.
The length is a time, not a number of epochs, so two runs differ a little.
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor, nn
from torch.nn import functional as F

import inksight
from inksight import models
from inksight.bundle.classifier import Classifier
from inksight.training.augment import DrawingAugmentation
from inksight.training.device import cpu_has_bfloat16
from inksight.training.muon import Muon
from inksight.training.optimizers import parameter_groups

MODEL = "sketchnet-m"
BATCH, RATE, DECAY, SMOOTHING, WARMUP = 256, 0.01, 0.05, 0.1, 0.12
# Changed copies count for half: they are many, and less real.
COPY_WEIGHT = 0.5
ERASED = 0.1
# How far a teacher's answer is believed over the label: about one drawing in ten is mislabelled or unfinished.
BELIEF = 0.5
# Changed views of a drawing that a teacher averages its answer over, beside the drawing itself and its mirror image.
VIEWS = 6

# The renderer and from_picture centre and scale alike, so shift and zoom may be small. Mirrored, no class is another.
AUGMENTATION = DrawingAugmentation(rotate=10, shift=0.03, zoom=0.08, elastic=0.02, stroke=0.4, flip=True)


def row_weights(labels: NDArray[np.int64], sources: NDArray[np.str_], classes: int) -> Tensor:
    """Return how often each training row is drawn: classes by the square root of their drawings, so rare ones show."""
    originals = np.isin(sources, ("bitmap", "strokes", "picture"))
    drawings = np.bincount(labels[originals], minlength=classes)
    weight = np.where(originals, 1.0, COPY_WEIGHT)
    total = np.bincount(labels, weights=weight, minlength=classes)
    return torch.from_numpy(weight * (np.sqrt(drawings) / total)[labels])


def erased(x: Tensor, generator: Generator) -> Tensor:
    """Wipe a square out of some drawings, as if a part had not been drawn (yet)."""
    rows = torch.nonzero(torch.rand(len(x), generator=generator) < ERASED).flatten()
    side = int(torch.randint(6, 12, (1,), generator=generator))
    top, left = (int(v) for v in torch.randint(2, 26 - side, (2,), generator=generator))
    x[rows, top : top + side, left : left + side] = 0
    return x


def predict(net: nn.Module, images: NDArray[np.uint8]) -> Tensor:
    """Return logits float32 (N, classes) of uint8 (N, 28, 28)."""
    net.eval()
    with torch.no_grad():
        parts = [
            net(torch.from_numpy(images[i : i + 512]).unsqueeze(1).float() / 255) for i in range(0, len(images), 512)
        ]
    net.train()
    return torch.cat(parts)


def taught(teacher: Classifier, images: NDArray[np.uint8], generator: Generator) -> Tensor:
    """Return a teacher's probabilities float32 (N, classes) of uint8 (N, 28, 28), the mean over views of each."""
    total = teacher.predict_proba(images) + teacher.predict_proba(images[:, :, ::-1])
    for _ in range(VIEWS):
        parts = [AUGMENTATION(torch.from_numpy(images[i : i + 4096]), generator) for i in range(0, len(images), 4096)]
        total += teacher.predict_proba(torch.cat(parts).round().to(torch.uint8).numpy())
    return torch.from_numpy(total / (VIEWS + 2))


def temperature(logits: Tensor, labels: Tensor) -> float:
    """Return the temperature that makes the probabilities of unseen drawings fit best (Guo et al. 2017)."""
    choices = torch.exp(torch.linspace(math.log(0.3), math.log(3.0), 200))
    losses = torch.stack([F.cross_entropy(logits / choice, labels) for choice in choices])
    return float(choices[losses.argmin()])


def write(net: nn.Module, path: Path, seen: int) -> None:
    """Write the weights, and how many drawings made them."""
    weights = {key: value.contiguous() for key, value in net.state_dict().items()}
    safetensors.torch.save_file(weights, path, {"seen": str(seen)})


def main() -> None:
    """Train for the given time, calibrate on the validation part, write the weights."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--weights", type=Path, required=True, help="the safetensors file to write")
    parser.add_argument("--before", help="a model to go on from, whose answers are learnt too, beside the labels")
    parser.add_argument("--rate", type=float, default=RATE, help="highest learning rate")
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--threads", type=int, default=1, help="two wait for one another on busy cores")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    generator = Generator().manual_seed(options.seed)
    data = np.load(options.data, allow_pickle=False)
    classes, parts, sources = data["classes"], data["parts"], data["sources"]
    training, validation = parts == "train", parts == "val"
    images, labels = torch.from_numpy(data["images"][training]), torch.from_numpy(data["labels"][training])
    unseen, truth = data["images"][validation], torch.from_numpy(data["labels"][validation])
    weights = row_weights(labels.numpy(), sources[training], len(classes))
    net = models.create(MODEL, num_classes=len(classes), image_shape=(28, 28))
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    before = 0
    targets = F.one_hot(labels, len(classes)) * (1 - SMOOTHING) + SMOOTHING / len(classes)
    if options.before:
        teacher = inksight.load(options.before)
        if teacher.classes != [str(name) for name in classes]:
            raise SystemExit("the model before knows other classes")
        net.load_state_dict(safetensors.torch.load_file(teacher.folder / "model.safetensors"))
        before = teacher.description["settings"]["drawings_seen"]
        answers = taught(teacher, images.numpy(), generator)
        print(
            f"the model before answers {(answers.argmax(1) == labels).float().mean().item():.4f} as labelled",
            flush=True,
        )
        targets = (1 - BELIEF) * targets + BELIEF * answers
    optimizer = Muon(parameter_groups(net, DECAY), lr=options.rate)
    print(f"{len(images)} rows to learn from, {len(unseen)} to choose by, {len(classes)} classes", flush=True)

    start, seconds, seen, told = time.monotonic(), options.minutes * 60, before, 0.0
    order = torch.empty(0, dtype=torch.int64)
    while (share := (time.monotonic() - start) / seconds) < 1:
        if len(order) < BATCH:
            order = torch.multinomial(weights, 100 * BATCH, replacement=True, generator=generator)
        rows, order = order[:BATCH], order[BATCH:]
        x = erased(AUGMENTATION(images[rows], generator), generator).unsqueeze(1) / 255
        shape = share / WARMUP if share < WARMUP else 0.5 + 0.5 * math.cos(math.pi * (share - WARMUP) / (1 - WARMUP))
        for group in optimizer.param_groups:
            group["lr"] = options.rate * max(shape, 0.001)
        with torch.autocast("cpu", torch.bfloat16, enabled=cpu_has_bfloat16()):
            logits = net(x.contiguous(memory_format=torch.channels_last))
        loss = F.cross_entropy(logits.float(), targets[rows])
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        seen += BATCH
        if share - told > 0.2:
            told = share
            right = (predict(net, unseen).argmax(1) == truth).float().mean().item()
            print(f"{share:.0%}: {seen} seen, loss {loss.item():.3f}, validation {right:.4f}", flush=True)
            write(net, options.weights.with_suffix(".partial.safetensors"), seen)
    logits = predict(net, unseen)
    right = (logits.argmax(1) == truth).float().mean().item()
    scale = temperature(logits, truth)
    head = net.get_submodule("head")
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.div_(scale)
    print(f"end: {seen} seen, validation {right:.4f}, temperature {scale:.3f} (folded into the last layer)", flush=True)
    write(net, options.weights, seen)


if __name__ == "__main__":
    main()

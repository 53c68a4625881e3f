"""Classical models: hand-made features and an SVM, a forest or a logistic regression, as one PyTorch module.

    from inksight import models

    net = models.create("shallow", num_classes=20, image_shape=(28, 28), classifier="rbf_svm")
    fit(net, images, labels, val_images, val_labels)       # shallow_fit.py: scikit-learn, once; not by gradient steps
    net(x)                                                 # float32 (N, C, h, w) in 0..1 -> logits (N, 20)

What scikit-learn found (weights, support vectors, trees) is kept as tensors, so that saving, ONNX and serving know one
kind of model and no pickle. The logits' softmax is a probability calibrated on the validation images.

Not guaranteed: that a fitted model can be trained further; it has no gradients to speak of. Before `fit` every class
gets the same answer.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from inksight.models.shallow_features import Features

CLASSIFIERS = ("rbf_svm", "linear_svm", "forest", "logistic")

# Features of so many images at once stay in the processor's cache: 7,500 drawings/s on one core against 5,000 in 1,024.
BATCH = 64


class Fitted(nn.Module):
    """A module whose tensors have the sizes that fitting gave them: loading a state dict takes over its sizes."""

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        for name, tensor in (*self._parameters.items(), *self._buffers.items()):
            loaded = state_dict.get(prefix + name)
            if tensor is not None and loaded is not None and loaded.dim() == tensor.dim():
                tensor.data = torch.empty_like(loaded, dtype=tensor.dtype)
        super()._load_from_state_dict(state_dict, prefix, *args)

    def hold(self, **tensors: Any) -> None:
        """Set tensors by name: numbers as parameters without gradient, whole numbers as buffers."""
        for name, value in tensors.items():
            array = np.ascontiguousarray(value)
            tensor = torch.from_numpy(array.astype(np.float32 if array.dtype.kind == "f" else np.int32))
            if array.dtype.kind == "f":
                self.register_parameter(name, nn.Parameter(tensor, requires_grad=False))
            else:
                self.register_buffer(name, tensor)


class Linear(Fitted):
    """Scores (N, classes) of standardised features: a linear SVM or a logistic regression."""

    weight: Tensor
    bias: Tensor

    def __init__(self, features: int, classes: int) -> None:
        super().__init__()
        self.hold(weight=np.zeros((classes, features)), bias=np.zeros(classes))

    def forward(self, x: Tensor) -> Tensor:
        """Return the scores."""
        return F.linear(x, self.weight, self.bias)


class Rbf(Fitted):
    """Scores (N, classes) of an RBF SVM: for every pair of classes a decision, whose soft votes are summed.

    A vote is the log-likelihood of the pair's logistic curve; with steep curves the order of the scores is that of the
    votes libsvm counts, with fitted ones it is a calibrated coupling of the pairs.
    """

    vectors: Tensor
    coefficients: Tensor
    bias: Tensor
    gamma: Tensor
    steepness: Tensor
    winner: Tensor
    loser: Tensor

    def __init__(self, features: int, classes: int) -> None:
        super().__init__()
        pairs = [(i, j) for i in range(classes) for j in range(i + 1, classes)]
        self.hold(
            vectors=np.zeros((1, features)),
            coefficients=np.zeros((1, len(pairs))),
            bias=np.zeros(len(pairs)),
            gamma=np.ones(1),
            steepness=np.ones(1),
        )
        votes = np.zeros((2, len(pairs), classes), np.float32)
        for index, pair in enumerate(pairs):
            votes[0, index, pair[0]] = votes[1, index, pair[1]] = 1
        self.register_buffer("winner", torch.from_numpy(votes[0]), persistent=False)
        self.register_buffer("loser", torch.from_numpy(votes[1]), persistent=False)

    def decisions(self, x: Tensor) -> Tensor:
        """Return libsvm's pairwise decisions (N, pairs); positive: the first class of the pair."""
        # |x - v|^2 from the products; both parts are of moderate size, so the difference keeps 5 digits.
        squares = (x * x).sum(dim=1, keepdim=True) + (self.vectors * self.vectors).sum(dim=1)
        distances = squares - 2 * (x @ self.vectors.T)
        return torch.exp(-self.gamma * torch.clamp(distances, min=0)) @ self.coefficients + self.bias

    def forward(self, x: Tensor) -> Tensor:
        """Return the scores."""
        decisions = self.decisions(x) * self.steepness
        # Not logsigmoid: the ONNX exporter writes it as log(sigmoid(x)), which is -inf for x < -88 and NaN times 0.
        return -(F.softplus(-decisions) @ self.winner + F.softplus(decisions) @ self.loser)


class Forest(Fitted):
    """Scores (N, classes) of a forest: the logarithm of the trees' mean class shares.

    All trees' nodes lie in one table; every image walks all trees at once, `depth` steps. `child` is where the features
    not above the threshold go, the others go to the node after it; a leaf leads to itself.
    """

    feature: Tensor
    threshold: Tensor
    child: Tensor
    leaf: Tensor
    shares: Tensor
    roots: Tensor

    def __init__(self, features: int, classes: int, depth: int) -> None:
        super().__init__()
        self.depth = depth
        self.hold(
            feature=np.zeros(1, np.int32),
            threshold=np.full(1, np.inf),
            child=np.zeros(1, np.int32),
            leaf=np.zeros(1, np.int32),
            shares=np.full((1, classes), 1 / classes),
            roots=np.zeros(1, np.int32),
        )

    def votes(self, x: Tensor) -> Tensor:
        """Return the mean class shares (N, classes)."""
        node = self.roots.long().unsqueeze(0).expand(x.shape[0], -1)
        for _ in range(self.depth):
            above = x.gather(1, self.feature[node].long()) > self.threshold[node]
            node = (self.child[node] + above).long()
        return self.shares[self.leaf[node].long()].mean(dim=1)

    def forward(self, x: Tensor) -> Tensor:
        """Return the scores."""
        return torch.log(torch.clamp(self.votes(x), min=1e-4))


class Shallow(Fitted):
    """Features, standardisation, a classifier and its calibration; see the module's text."""

    mean: Tensor
    spread: Tensor
    temperature: Tensor
    shift: Tensor

    def __init__(
        self,
        *,
        num_classes: int,
        input_shape: tuple[int, int, int],
        classifier: str | None = None,
        penalty: float = 10.0,
        gamma: float = 0.0,
        trees: int = 200,
        depth: int = 18,
        leaf: int = 2,
        max_samples: int = 20_000,
        **features: Any,
    ) -> None:
        super().__init__()
        self.features = Features(input_shape, **features)
        self.num_classes = num_classes
        self.classifier = classifier = classifier or ("forest" if input_shape[0] == 3 else "rbf_svm")
        self.penalty, self.gamma, self.max_samples = penalty, gamma, max_samples
        self.trees, self.depth, self.leaf = trees, depth, leaf
        size = self.features.size
        self.head: Linear | Rbf | Forest
        if classifier == "rbf_svm":
            self.head = Rbf(size, num_classes)
        elif classifier == "forest":
            self.head = Forest(size, num_classes, depth)
        else:
            self.head = Linear(size, num_classes)
        self.hold(mean=np.zeros(size), spread=np.ones(size), temperature=np.ones(1), shift=np.zeros(num_classes))

    def size_text(self) -> str:
        """Return what there is before fitting: how many vectors, nodes or weights follow is up to the images."""
        return f"{self.features.size:,} features for {self.classifier}, {self.num_classes} classes"

    def get_features(self, x: Tensor) -> Tensor:
        """Return the standardised features (N, size) of float32 images (N, C, h, w) in 0..1."""
        features: Tensor = self.features(x)
        return (features - self.mean) * self.spread

    def forward(self, x: Tensor) -> Tensor:
        """Map float32 images (N, C, h, w) in 0..1 to logits (N, classes)."""
        scores: Tensor = self.head(self.get_features(x))
        return scores * self.temperature + self.shift


def plain(images: Tensor) -> Tensor:
    """Map uint8 images (N, H, W[, 3]) to float32 (N, C, H, W) in 0..1."""
    x = images.permute(0, 3, 1, 2) if images.dim() == 4 else images.unsqueeze(1)
    return x.float() / 255

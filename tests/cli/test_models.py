"""`inksight models ...` as a user types it."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from inksight.cli import app
from inksight.cli.models_clean import parse_age
from inksight.errors import NotFoundError, UsageError
from tests.registry.made import make_bundle


def inksight(*words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([sys.executable, "-m", "inksight", *words], capture_output=True, text=True, timeout=100)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done


def test_the_whole_life_of_a_model(tmp_path: Path) -> None:
    """Push, promote, refuse, force, roll back, clean, pull."""
    assert "empty" in inksight("models", "list").stdout
    for index, accuracy in enumerate((0.9, 0.92, 0.88)):
        bundle = make_bundle(tmp_path / str(index), accuracy=accuracy, salt=str(index))
        assert f"doodle:{index + 1}" in inksight("models", "push", str(bundle), "doodle").stdout
    inksight("models", "promote", "doodle:1")
    assert "is doodle:2 now, was doodle:1" in inksight("models", "promote", "doodle:2").stdout
    refused = inksight("models", "promote", "doodle", code=1)
    assert refused.stderr.count("88.00% against 92.00%") == 1
    assert "passed  parity" in refused.stderr
    assert "refused by overall\n" in refused.stderr
    asked = json.loads(inksight("models", "promote", "doodle", "--json", code=1).stdout)
    assert "88.00% against 92.00%" in asked["error"]["message"]
    assert "--force" in refused.stderr
    forced = json.loads(inksight("models", "promote", "doodle", "--force", "--note", "demo", "--json").stdout)
    assert forced["forced"]
    assert [gate["gate"] for gate in forced["gates"] if not gate["passed"]] == ["overall"]
    shown = inksight("models", "show", "doodle:3").stdout
    assert "FORCED against overall (demo)" in shown
    assert "epochs 3 " in shown
    assert "doodle:2 now" in inksight("models", "rollback", "doodle").stdout
    assert "kept doodle:2: is champion" in inksight("models", "clean", "--keep", "1", "--dry-run").stdout
    listed = json.loads(inksight("models", "list", "--json").stdout)
    assert [version["version"] for version in listed] == [3, 2, 1]
    inksight("models", "pull", "doodle", str(tmp_path / "out"))
    assert (tmp_path / "out/model.onnx").read_bytes() == (tmp_path / "1/model.onnx").read_bytes()
    assert "exists already" in inksight("models", "pull", "doodle", str(tmp_path / "out"), code=2).stderr
    assert "Did you mean doodle" in inksight("models", "show", "dodle", code=2).stderr


def test_pushing_and_serving_say_what_a_name_means_that_a_run_has_too(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = make_bundle(tmp_path / "made")
    assert "Let doodle mean it" in inksight("models", "push", str(bundle), "doodle").stdout
    run = home / "runs" / "doodle"
    run.mkdir(parents=True)
    (run / "settings.json").write_text("{}")
    make_bundle(run / "bundle")
    told = inksight("models", "push", "doodle", "doodle").stdout
    assert "Let doodle@champion mean it" in told
    assert f"doodle alone means {run / 'bundle'}, which comes first." in told
    served: list[list[str]] = []
    monkeypatch.setattr("inksight.serving.serve", lambda models, *_, **__: served.append(models))
    said = [CliRunner().invoke(app, ["serve", *words]).stderr for words in (["doodle"], ["doodle@champion"], [])]
    assert served == [["doodle"], ["doodle@champion"], ["doodles"]]
    [line] = "".join(said).splitlines()
    assert f"doodle is {run / 'bundle'}, not" in line
    assert line.endswith("doodle@champion.")


@pytest.mark.slow
def test_architectures() -> None:
    found = json.loads(inksight("models", "architectures", "simple_cnn", "convnet", "--json").stdout)
    assert (found[0]["name"], found[0]["parameters"], found[0]["input"]) == ("simple_cnn", 50_836, "28x28x1")
    assert all(each["milliseconds"] > 0 for each in found)
    everything = inksight("models", "architectures", "--no-measure").stdout
    assert all(name in everything for name in ("simple_cnn", "transfer/resnet18", "shallow"))
    offline = json.loads(inksight("models", "architectures", "transfer/mobilenet_v2", "shallow", "--json").stdout)
    assert offline[0]["parameters"] > 2_000_000  # built without asking for its pretrained weights


def test_a_misspelt_architecture_is_named() -> None:
    with pytest.raises(NotFoundError, match=r"^unknown model 'simple_cn'$"):
        CliRunner().invoke(app, ["models", "architectures", "simple_cn"], catch_exceptions=False)


def test_ages() -> None:
    assert parse_age("7d") == timedelta(days=7)
    assert parse_age("1.5h") == timedelta(minutes=90)
    for text in ("7", "d", "-1d", "7y", ""):
        with pytest.raises(UsageError, match="not an age"):
            parse_age(text)
    for text in ("99999999999999d", "3000000d"):
        with pytest.raises(UsageError, match="longer ago than there are dates"):
            parse_age(text)

"""The files of docker/, as far as a machine without a Docker engine can tell: linted, by their schema, and pinned."""

from __future__ import annotations

import json
import re
import subprocess
import sys

from tests.docker.files import COMPOSE, DOCKERFILE, REPOSITORY, instructions, last, program, services


def test_the_dockerfile_has_no_lint() -> None:
    done = subprocess.run([program("hadolint"), str(DOCKERFILE)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_compose_file_fits_its_schema() -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(COMPOSE)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_every_image_is_pinned_and_every_service_watched() -> None:
    bases = [rest.split()[0] for name, rest in instructions() if name == "FROM"]
    images = [service["image"] for service in services().values()]
    for image in {*bases, *images} - {"inksight:local"}:
        assert re.search(r":v?\d+\.\d+(\.\d+)?(-\w+)*$", image), f"{image} may change by itself"
    for name, service in services().items():
        assert "healthcheck" in service or "build" in service, f"nobody notices when {name} hangs"
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:"), f"{name} is open to the network"


def test_it_runs_without_rights() -> None:
    assert re.fullmatch(r"[1-9]\d+:[1-9]\d+", last("USER"))
    service = services()["inksight"]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["tmpfs"] == ["/tmp"]


def test_no_secret_is_written_down() -> None:
    names = re.findall(r"^(\w+)=(.*)$", (REPOSITORY / "docker" / "example.env").read_text(), re.MULTILINE)
    assert names
    assert all(value == "" for _, value in names), "a default password is everybody's password"
    text = COMPOSE.read_text(encoding="utf-8")
    assert set(re.findall(r"\$\{(\w+):\?", text)) == {name for name, _ in names}
    # Whatever looks like a secret takes its value from there.
    for line in text.splitlines():
        if re.search(r"(PASSWORD|SECRET\w*|ACCESS_KEY\w*):", line):
            assert "${" in line, line
    ignored = subprocess.run(["git", "check-ignore", "-q", "docker/.env"], cwd=REPOSITORY, check=False)
    assert ignored.returncode == 0, "docker/.env could be committed"


def test_the_image_gets_all_it_copies_and_nothing_else() -> None:
    allowed = {line[1:] for line in (REPOSITORY / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = {
        source
        for name, rest in instructions()
        if name == "COPY" and not rest.startswith("--from")
        for source in rest.split()[:-1]
    }
    assert copied == allowed
    assert all((REPOSITORY / name).exists() for name in copied)


def test_races_can_be_played() -> None:
    command = services()["inksight"]["command"]
    assert "--workers" not in command, "with several there are no rooms, and the page offers Race all the same"


def test_the_commands_exist() -> None:
    assert json.loads(last("ENTRYPOINT")) == ["inksight"]
    for words in (json.loads(last("CMD")), services()["inksight"]["command"]):
        command = [sys.executable, "-m", "inksight", *words, "--help"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

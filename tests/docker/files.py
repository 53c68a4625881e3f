"""Reads what docker/ says: the Dockerfile's instructions and the services of the compose file."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path
from typing import Any

import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
DOCKERFILE = REPOSITORY / "docker" / "Dockerfile"
COMPOSE = REPOSITORY / "docker" / "compose.yaml"


def instructions() -> list[tuple[str, str]]:
    """Return the Dockerfile's instructions as (NAME, the rest), lines joined and comments left out."""
    text = re.sub(r"^\s*#.*\n", "", DOCKERFILE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    lines = re.sub(r"\\\n\s*", "", text).splitlines()
    return [(name, rest) for name, _, rest in (line.partition(" ") for line in lines if line)]


def last(name: str) -> str:
    """Return what the last instruction of that name says: the one that counts."""
    return [rest for instruction, rest in instructions() if instruction == name][-1]


def health_command() -> list[str]:
    """Return the words of the health check."""
    words: list[str] = json.loads(last("HEALTHCHECK").partition(" CMD ")[2])
    return words


def image_environment() -> dict[str, str]:
    """Return the variables that the image sets, but for PATH."""
    return {name: value for name, value in re.findall(r"(\w+)=(\S+)", last("ENV")) if name != "PATH"}


def services(environment: dict[str, str] | None = None) -> dict[str, Any]:
    """Return the compose file's services, with ${NAME:?why} replaced from `environment` (default: by its name)."""

    def value(match: re.Match[str]) -> str:
        return (environment or {}).get(match[1], match[1])

    text = re.sub(r"\$\{(\w+):\?[^}]*\}", value, COMPOSE.read_text(encoding="utf-8"))
    assert "${" not in text, "a variable without :? would silently be empty"
    found: dict[str, Any] = yaml.safe_load(text)["services"]
    return found


def program(name: str) -> str:
    """Return the path of a program that lies beside this interpreter."""
    return os.fspath(Path(sys.executable).parent / name)

"""What installing the package brings: page, presets, migrations and built-in model are files beside the code."""

from __future__ import annotations

import tomllib

from tests.test_rooms import PACKAGE


def test_every_file_of_the_package_is_installed() -> None:
    project = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text(encoding="utf-8"))
    patterns = project["tool"]["setuptools"]["package-data"]["inksight"]
    installed = {path for pattern in patterns for path in PACKAGE.glob(pattern)}
    files = {path for path in PACKAGE.rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    # Python files come along where their folder is a package.
    files -= {path for path in files if path.suffix == ".py" and (path.parent / "__init__.py").exists()}
    assert PACKAGE / "web" / "index.html" in files
    assert files <= installed, sorted(map(str, files - installed))

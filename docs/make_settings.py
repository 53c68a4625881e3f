"""Writes docs/settings.md from the settings classes: `python docs/make_settings.py`. A test keeps the two the same."""

from __future__ import annotations

from pathlib import Path

from inksight import settings
from inksight.config import Settings, default_of, fields_of, option_name, variable_name

HEAD = """# Settings

Values are layered, later wins: defaults, preset, file (`--config FILE`: TOML, a table per section), variables, options.
The resolved set is saved with every run. This page is written by `docs/make_settings.py` from `inksight/settings.py`.
"""


def page() -> str:
    """Return the whole page."""
    classes = [value for value in vars(settings).values() if isinstance(value, type) and issubclass(value, Settings)]
    parts = [HEAD]
    for cls in sorted((cls for cls in classes if cls is not Settings), key=lambda cls: cls.section):
        parts.append(f"\n## {cls.section}\n\n{(cls.__doc__ or '').strip()}\n")
        parts.append("\n| option | default | meaning | variable |\n| --- | --- | --- | --- |\n")
        for name, field in fields_of(cls).items():
            default = default_of(field)
            shown = "" if default in (None, "", []) else f"`{default}`"
            text = field.metadata["help"]
            if field.metadata["choices"]:
                text += f" One of: {', '.join(field.metadata['choices'])}."
            text = text.replace("|", "\\|")
            parts.append(f"| `{option_name(name)}` | {shown} | {text} | `{variable_name(cls, name)}` |\n")
    return "".join(parts)


if __name__ == "__main__":
    Path(__file__).with_name("settings.md").write_text(page(), encoding="utf-8")

"""docs/settings.md says what the code says."""

from __future__ import annotations

import runpy

from tests.docs.documents import REPOSITORY


def test_the_page_is_up_to_date() -> None:
    made = runpy.run_path(str(REPOSITORY / "docs" / "make_settings.py"))["page"]()
    written = (REPOSITORY / "docs" / "settings.md").read_text(encoding="utf-8")
    assert made == written, "run: python docs/make_settings.py"

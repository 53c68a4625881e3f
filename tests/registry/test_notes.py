"""What the program writes beside versions is kept in parts too; what people write is left alone."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from sqlalchemy import text

from inksight.registry import Registry, notes
from tests.registry.made import make_bundle
from tests.registry.migrate import migrate


@pytest.mark.parametrize("code", notes.TEMPLATES)
def test_the_program_knows_what_it_wrote(code: str) -> None:
    values = {name: f"{name}:1" for name in re.findall(r"{(\w+)}", notes.TEMPLATES[code])}
    note = notes.write(code, **values)
    assert note == notes.TEMPLATES[code].format(**values)
    assert notes.parts(note) == {"code": code, "values": values}
    assert notes.parts(str(note) + "") is None


def test_notes_are_kept_in_parts_and_peoples_words_are_not(any_store: Registry, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle")
    by_people, own = "trained by a job", notes.write("retrained", parent="doodle:1", count=40)
    assert any_store.register(bundle, "doodle", note=by_people).own_note is None
    any_store.register(bundle, "doodle", note=own)
    assert any_store.find("doodle:2").own_note == {"code": "retrained", "values": {"parent": "doodle:1", "count": "40"}}
    any_store.promote("doodle", 1, force=True, note=by_people)
    any_store.promote("doodle", 2, force=True, note=notes.write("experiment", number="a-b"))
    any_store.rollback("doodle", note=own)
    told = [move.own_note and move.own_note["code"] for move in any_store.history("doodle")]
    assert told == ["retrained", "experiment", None]


def test_notes_of_older_databases_are_known_by_their_words(any_store: Registry) -> None:
    database = any_store.database
    written = {
        code: notes.write(code, parent="doodle:1", count=40, matrix="m.toml", number="a-b") for code in notes.TEMPLATES
    }
    with database.write() as session:
        for table in ("versions", "moves"):
            session.execute(text(f"ALTER TABLE {table} DROP COLUMN own_note"))
        session.execute(text("INSERT INTO models (name, last_number) VALUES ('doodle', 0)"))
        add = text(
            "INSERT INTO versions (model, number, state, location, sha256, bytes, files, description, note, created_at)"
            " VALUES ('doodle', :number, 'ready', '', '', 0, '{}', '{}', :note, '2026-01-01')"
        )
        for number, note in enumerate([*written.values(), "", "experiment 3 (Ada)", "the job is done"], 1):
            session.execute(add, {"number": number, "note": note})
        migrate(session, "0004_review", "0005_notes")
    codes = {version.note: version.own_note and version.own_note["code"] for version in any_store.versions("doodle")}
    assert codes == {note: code for code, note in written.items()} | {
        "": None, "experiment 3 (Ada)": None, "the job is done": None,
    }  # fmt: skip
    assert any_store.find("doodle:1").own_note == notes.parts(notes.write("retrained", parent="doodle:1", count=40))

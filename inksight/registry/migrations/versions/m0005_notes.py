"""Notes: those that the program wrote, in parts too; until now they were known by their English words"""

import re

import sqlalchemy as sa
from alembic import op

revision = "0005_notes"
down_revision = "0004_review"
branch_labels = None
depends_on = None

WORDS = {
    "retrained": r"retrained from (?P<parent>[^\s,]+) on (?P<count>\d+) corrections",
    "passed": r"retrained from (?P<parent>[^\s,]+)",
    "forced": r"retrained from (?P<parent>[^\s,]+), although a gate said no",
    "job": r"trained by a job",
    "matrix": r"train-all (?P<matrix>[^\s,]+)",
    "experiment": r"experiment (?P<number>[^\s,]+)",
}


def upgrade() -> None:
    """Apply."""
    for name in ("versions", "moves"):
        op.add_column(name, sa.Column("own_note", sa.JSON()))
        table = sa.table(name, sa.column("id", sa.Integer), sa.column("note", sa.Text), sa.column("own_note", sa.JSON))
        rows = op.get_bind().execute(sa.select(table.c.id, table.c.note).where(table.c.note != "")).all()
        for number, note in rows:
            for code, words in WORDS.items():
                if found := re.fullmatch(words, note):
                    parts = {"code": code, "values": found.groupdict()}
                    op.execute(table.update().where(table.c.id == number).values(own_note=parts))

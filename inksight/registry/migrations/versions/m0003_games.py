"""Games: sessions, rounds and scores"""

import sqlalchemy as sa
from alembic import op

revision = "0003_games"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "game_sessions",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("game", sa.String(length=20), nullable=False),
        sa.Column("level", sa.String(length=20), nullable=False),
        sa.Column("model", sa.String(length=100), nullable=False),
        sa.Column("version", sa.String(length=100), nullable=False),
        sa.Column("rounds", sa.Integer(), nullable=False),
        sa.Column("score", sa.Integer(), nullable=False),
        sa.Column("machine_score", sa.Integer(), nullable=False),
        sa.Column("streak", sa.Integer(), nullable=False),
        sa.Column("best_streak", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True)),
        sa.Column("extra", sa.JSON()),
        sa.PrimaryKeyConstraint("id", name="pk_game_sessions"),
    )
    op.create_index("ix_game_sessions_started_at", "game_sessions", ["started_at"])
    op.create_table(
        "game_rounds",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("session_id", sa.String(length=36), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("answer", sa.String(length=200), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("seconds", sa.Double(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("took", sa.Double()),
        sa.Column("points", sa.Integer(), nullable=False),
        sa.Column("guess", sa.String(length=200)),
        sa.Column("confidence", sa.Double()),
        sa.Column("input", sa.JSON()),
        sa.Column("spec", sa.JSON()),
        sa.ForeignKeyConstraint(["session_id"], ["game_sessions.id"], name="fk_game_rounds_session_id"),
        sa.PrimaryKeyConstraint("id", name="pk_game_rounds"),
        sa.UniqueConstraint("session_id", "number", name="uq_game_rounds_session_id"),
    )
    op.create_table(
        "scores",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("session_id", sa.String(length=36), nullable=False),
        sa.Column("game", sa.String(length=20), nullable=False),
        sa.Column("level", sa.String(length=20), nullable=False),
        sa.Column("name", sa.String(length=60), nullable=False),
        sa.Column("score", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_scores"),
        sa.UniqueConstraint("session_id", name="uq_scores_session_id"),
    )
    op.create_index("ix_scores_game", "scores", ["game", "level", "at"])

"""Scores: the model that was played against; it stays unknown where the session is gone"""

import sqlalchemy as sa
from alembic import op

revision = "0006_score_models"
down_revision = "0005_notes"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.add_column("scores", sa.Column("model", sa.String(length=100), nullable=False, server_default=""))
    scores = sa.table("scores", sa.column("session_id", sa.String), sa.column("model", sa.String))
    sessions = sa.table("game_sessions", sa.column("id", sa.String), sa.column("model", sa.String))
    model = sa.select(sessions.c.model).where(sessions.c.id == scores.c.session_id).scalar_subquery()
    op.execute(scores.update().values(model=sa.func.coalesce(model, "")))

"""Experiments: the alias that each is about, champion for those that do not say so; old winners wait no more"""

import sqlalchemy as sa
from alembic import op

revision = "0007_experiment_alias"
down_revision = "0006_score_models"
branch_labels = None
depends_on = None

ERROR = {
    "code": "conflict",
    "message": "it had won, but was not promoted before Inksight was updated",
    "hint": "Promote the candidate by hand, or compare it anew.",
}


def upgrade() -> None:
    """Apply."""
    op.add_column("experiments", sa.Column("alias", sa.String(length=100), nullable=False, server_default="champion"))
    table = sa.table(
        "experiments",
        sa.column("id", sa.String),
        sa.column("state", sa.String),
        sa.column("auto_promote", sa.Boolean),
        sa.column("verdict", sa.JSON),
    )
    # A gate's refusal left them so until now. Nobody expects a candidate of months ago to take over at a start.
    waiting = sa.select(table.c.id, table.c.verdict).where(table.c.state == "better", table.c.auto_promote)
    for number, verdict in op.get_bind().execute(waiting).all():
        kept = {**(verdict or {}), "error": ERROR}
        op.execute(table.update().where(table.c.id == number).values(state="refused", verdict=kept))

"""Experiments: the alias that each is about; those that do not say so count as champion's"""

import sqlalchemy as sa
from alembic import op

revision = "0007_experiment_alias"
down_revision = "0006_score_models"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.add_column("experiments", sa.Column("alias", sa.String(length=100), nullable=False, server_default="champion"))

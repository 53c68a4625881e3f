"""Review: which side of the split a correction is on, what learnt it; a job's progress, and one at a time of a kind"""

import sqlalchemy as sa
from alembic import op

revision = "0004_review"
down_revision = "0003_games"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.add_column("corrections", sa.Column("split", sa.String(length=10)))
    op.add_column("corrections", sa.Column("learnt_in", sa.String(length=200)))
    op.add_column("jobs", sa.Column("slot", sa.String(length=100)))
    op.add_column("jobs", sa.Column("progress", sa.JSON()))
    op.create_index("uq_jobs_slot", "jobs", ["slot"], unique=True)

"""how many cores a run that is alone on a worker's machine may take.

Revision: 0020, after 0019
"""

import sqlalchemy as sa
from alembic import op


revision = '0020'
down_revision = '0019'
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Forward."""
    with op.batch_alter_table('worker') as batch:
        batch.add_column(sa.Column('cores', sa.Integer(), nullable=True))


def downgrade() -> None:
    """Back."""
    with op.batch_alter_table('worker') as batch:
        batch.drop_column('cores')

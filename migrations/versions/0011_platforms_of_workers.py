"""what workers train with: their version of torch, and whether their threads are set.

Revision: 0011, after 0010
"""

import sqlalchemy as sa
from alembic import op


revision = '0011'
down_revision = '0010'
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Forward."""
    with op.batch_alter_table('worker') as batch:
        batch.add_column(sa.Column('torch', sa.String(), nullable=True))
        batch.add_column(sa.Column('threads_are_set', sa.Boolean(), nullable=True))


def downgrade() -> None:
    """Back."""
    with op.batch_alter_table('worker') as batch:
        batch.drop_column('threads_are_set')
        batch.drop_column('torch')

"""why a worker cannot train, and what people should know of one that can.

Revision: 0018, after 0017
"""

import sqlalchemy as sa
from alembic import op


revision = '0018'
down_revision = '0017'
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Forward."""
    with op.batch_alter_table('worker') as batch:
        batch.add_column(sa.Column('trouble', sa.String(), nullable=True))
        batch.add_column(sa.Column('caution', sa.String(), nullable=True))


def downgrade() -> None:
    """Back."""
    with op.batch_alter_table('worker') as batch:
        batch.drop_column('caution')
        batch.drop_column('trouble')

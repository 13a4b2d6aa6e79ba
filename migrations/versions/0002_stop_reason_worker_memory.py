"""a run's stop reason, a worker's memory.

Revision: 0002, after 0001
"""

import sqlalchemy as sa
from alembic import op


revision = '0002'
down_revision = '0001'
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Forward."""
    with op.batch_alter_table('run', schema=None) as batch_op:
        batch_op.add_column(sa.Column('stop_reason', sa.String(), nullable=True))
    with op.batch_alter_table('worker', schema=None) as batch_op:
        batch_op.add_column(sa.Column('memory_bytes', sa.BigInteger(), nullable=True))


def downgrade() -> None:
    """Back."""
    with op.batch_alter_table('worker', schema=None) as batch_op:
        batch_op.drop_column('memory_bytes')
    with op.batch_alter_table('run', schema=None) as batch_op:
        batch_op.drop_column('stop_reason')

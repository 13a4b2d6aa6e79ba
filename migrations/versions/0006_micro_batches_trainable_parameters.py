"""in how many parts a batch is computed where memory ran out; how many parameters are trained.

Revision: 0006, after 0005
"""

import sqlalchemy as sa
from alembic import op


revision = '0006'
down_revision = '0005'
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Forward."""
    for table in ('run', 'attempt'):
        with op.batch_alter_table(table, schema=None) as batch_op:
            batch_op.add_column(sa.Column('micro_batches', sa.Integer(), nullable=False, server_default='1'))
        with op.batch_alter_table(table, schema=None) as batch_op:
            batch_op.alter_column('micro_batches', existing_type=sa.Integer(), existing_nullable=False, server_default=None)
    with op.batch_alter_table('experiment', schema=None) as batch_op:
        batch_op.add_column(sa.Column('trainable_parameters', sa.BigInteger(), nullable=True))
    op.execute(sa.text("UPDATE experiment SET trainable_parameters = parameters WHERE kind <> 'transfer'"))


def downgrade() -> None:
    """Back."""
    with op.batch_alter_table('experiment', schema=None) as batch_op:
        batch_op.drop_column('trainable_parameters')
    for table in ('attempt', 'run'):
        with op.batch_alter_table(table, schema=None) as batch_op:
            batch_op.drop_column('micro_batches')

"""what an attempt's time went to; which architecture an experiment trains, for the speed of those like it.

Revision: 0009, after 0008
"""

import sqlalchemy as sa
from alembic import op


revision = '0009'
down_revision = '0008'
branch_labels = None
depends_on = None

experiment = sa.table('experiment', sa.column('id', sa.String()), sa.column('spec', sa.JSON()), sa.column('arch', sa.String()))


def upgrade() -> None:
    """Forward."""
    with op.batch_alter_table('attempt', schema=None) as batch_op:
        batch_op.add_column(sa.Column('phases', sa.JSON(), nullable=True))
    with op.batch_alter_table('experiment', schema=None) as batch_op:
        batch_op.add_column(sa.Column('arch', sa.String(), nullable=True))
    at = {kind: experiment.c.spec[field]['arch'].as_string() for kind, field in (('train', 'model'), ('distill', 'student'))}
    op.execute(experiment.update().values(arch=sa.func.coalesce(at['train'], at['distill'])))


def downgrade() -> None:
    """Back."""
    with op.batch_alter_table('experiment', schema=None) as batch_op:
        batch_op.drop_column('arch')
    with op.batch_alter_table('attempt', schema=None) as batch_op:
        batch_op.drop_column('phases')

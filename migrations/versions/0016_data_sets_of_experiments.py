"""which data set an experiment learns from, to be counted and found by without its spec.

Revision: 0016, after 0015
"""

import sqlalchemy as sa
from alembic import op


revision = '0016'
down_revision = "0015"
branch_labels = None
depends_on = None

experiment = sa.table('experiment', sa.column('spec', sa.JSON()), sa.column('dataset', sa.String()))


def upgrade() -> None:
    """Forward. The index on the owner alone goes: two others begin with it."""
    op.add_column('experiment', sa.Column('dataset', sa.String(), nullable=True))
    op.execute(experiment.update().values(dataset=experiment.c.spec[('dataset', 'name')].as_string()))
    op.create_index('ix_experiment_owner_dataset_archived', 'experiment', ['owner', 'dataset', 'archived'])
    op.drop_index('ix_experiment_owner', 'experiment')


def downgrade() -> None:
    """Back."""
    op.create_index('ix_experiment_owner', 'experiment', ['owner'])
    op.drop_index('ix_experiment_owner_dataset_archived', 'experiment')
    with op.batch_alter_table('experiment', schema=None) as batch_op:
        batch_op.drop_column('dataset')

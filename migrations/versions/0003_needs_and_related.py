"""the run that a run needs, the experiments that belong to one.

Revision: 0003, after 0002
"""

import sqlalchemy as sa
from alembic import op


revision = '0003'
down_revision = '0002'
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Forward."""
    with op.batch_alter_table('run', schema=None) as batch_op:
        batch_op.add_column(sa.Column('needs', sa.String(), nullable=True))
        batch_op.create_foreign_key('fk_run_needs_run', 'run', ['needs'], ['id'])
        batch_op.create_index('ix_run_needs', ['needs'], unique=False)
    with op.batch_alter_table('experiment', schema=None) as batch_op:
        batch_op.add_column(sa.Column('related', sa.JSON(), nullable=False, server_default='{}'))


def downgrade() -> None:
    """Back."""
    with op.batch_alter_table('experiment', schema=None) as batch_op:
        batch_op.drop_column('related')
    with op.batch_alter_table('run', schema=None) as batch_op:
        batch_op.drop_index('ix_run_needs')
        batch_op.drop_constraint('fk_run_needs_run', type_='foreignkey')
        batch_op.drop_column('needs')

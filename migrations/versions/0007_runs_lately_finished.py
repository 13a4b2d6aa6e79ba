"""the runs that ended last, for the pace of late; experiments of an owner, the newest first.

Revision: 0007, after 0006
"""

from alembic import op


revision = '0007'
down_revision = '0006'
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Forward."""
    with op.batch_alter_table('run', schema=None) as batch_op:
        batch_op.create_index('ix_run_status_finished_at', ['status', 'finished_at'], unique=False)
    with op.batch_alter_table('experiment', schema=None) as batch_op:
        batch_op.create_index('ix_experiment_owner_created_at_id', ['owner', 'created_at', 'id'], unique=False)


def downgrade() -> None:
    """Back."""
    with op.batch_alter_table('experiment', schema=None) as batch_op:
        batch_op.drop_index('ix_experiment_owner_created_at_id')
    with op.batch_alter_table('run', schema=None) as batch_op:
        batch_op.drop_index('ix_run_status_finished_at')

"""on which kind of device an experiment is to be trained, and which kind may take each of its runs.

Revision: 0019, after 0018
"""

import sqlalchemy as sa
from alembic import op


revision = '0019'
down_revision = '0018'
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Forward: what is there may go anywhere, as before."""
    with op.batch_alter_table('experiment') as batch:
        batch.add_column(sa.Column('device', sa.String(), nullable=False, server_default='any'))
    with op.batch_alter_table('experiment') as batch:
        batch.alter_column('device', existing_type=sa.String(), existing_nullable=False, server_default=None)
    with op.batch_alter_table('run') as batch:
        batch.add_column(sa.Column('trains_on', sa.String(), nullable=False, server_default='any'))
    with op.batch_alter_table('run') as batch:
        batch.alter_column('trains_on', existing_type=sa.String(), existing_nullable=False, server_default=None)


def downgrade() -> None:
    """Back."""
    with op.batch_alter_table('run') as batch:
        batch.drop_column('trains_on')
    with op.batch_alter_table('experiment') as batch:
        batch.drop_column('device')

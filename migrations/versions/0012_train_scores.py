"""what the published weights score on the images that they were learned from.

Revision: 0012, after 0011
"""

import sqlalchemy as sa
from alembic import op


revision = '0012'
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Forward."""
    with op.batch_alter_table('run', schema=None) as batch_op:
        batch_op.add_column(sa.Column('train', sa.JSON(), nullable=True))


def downgrade() -> None:
    """Back."""
    with op.batch_alter_table('run', schema=None) as batch_op:
        batch_op.drop_column('train')

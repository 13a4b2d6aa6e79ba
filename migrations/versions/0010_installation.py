"""which home the files of the runs lie in, and what the API was last started with.

Revision: 0010, after 0009
"""

import sqlalchemy as sa
from alembic import op


revision = '0010'
down_revision = '0009'
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Forward."""
    op.create_table(
        'installation',
        sa.Column('id', sa.Integer(), nullable=False),
        sa.Column('home_id', sa.String(), nullable=False),
        sa.Column('home', sa.String(), nullable=False),
        sa.Column('host', sa.String(), nullable=False),
        sa.Column('store', sa.String(), nullable=False),
        sa.Column('version', sa.String(), nullable=True),
        sa.Column('results_version', sa.Integer(), nullable=False),
        sa.Column('started_at', sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint('id', name='pk_installation'),
    )


def downgrade() -> None:
    """Back."""
    op.drop_table('installation')

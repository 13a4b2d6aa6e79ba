"""which change wrote a row last, and what was deleted lately.

Revision: 0013, after 0012
"""

import sqlalchemy as sa
from alembic import op


revision = '0013'
down_revision = "0012"
branch_labels = None
depends_on = None

TABLES = ('study', 'experiment', 'run')


def upgrade() -> None:
    """Forward. What is there has been written by the first change."""
    op.create_table(
        'change_counter',
        sa.Column('id', sa.Integer(), nullable=False),
        sa.Column('value', sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint('id', name=op.f('pk_change_counter')),
    )
    op.execute('INSERT INTO change_counter (id, value) VALUES (1, 1)')
    op.create_table(
        'tombstone',
        sa.Column('id', sa.String(), nullable=False),
        sa.Column('kind', sa.String(), nullable=False),
        sa.Column('owner', sa.String(), nullable=False),
        sa.Column('study_id', sa.String(), nullable=True),
        sa.Column('at', sa.DateTime(timezone=True), nullable=False),
        sa.Column('change', sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint('id', name=op.f('pk_tombstone')),
    )
    op.create_index('ix_tombstone_change', 'tombstone', ['change'])
    for table in TABLES:
        op.add_column(
            table, sa.Column('change', sa.BigInteger(), nullable=False, server_default='1')
        )
        op.create_index(f'ix_{table}_change', table, ['change'])


def downgrade() -> None:
    """Back."""
    for table in TABLES:
        op.drop_index(f'ix_{table}_change', table)
        with op.batch_alter_table(table, schema=None) as batch_op:
            batch_op.drop_column('change')
    op.drop_table('tombstone')
    op.drop_table('change_counter')

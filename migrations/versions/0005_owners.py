"""owners, their turns and keys; a pause that is asked for; what a run is expected to take.

Revision: 0005, after 0004
"""

import sqlalchemy as sa
from alembic import op


revision = '0005'
down_revision = '0004'
branch_labels = None
depends_on = None

LOCAL = 'local'


def upgrade() -> None:
    """Forward."""
    op.create_table(
        'owner',
        sa.Column('name', sa.String(), nullable=False),
        sa.Column('turn', sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint('name', name='pk_owner'),
    )
    op.create_table(
        'api_key',
        sa.Column('id', sa.String(), nullable=False),
        sa.Column('owner', sa.String(), nullable=False),
        sa.Column('role', sa.String(), nullable=False),
        sa.Column('sha256', sa.String(), nullable=False),
        sa.Column('hint', sa.String(), nullable=False),
        sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
        sa.Column('revoked_at', sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint('id', name='pk_api_key'),
        sa.UniqueConstraint('sha256', name='uq_api_key_sha256'),
    )
    op.create_index('ix_api_key_owner', 'api_key', ['owner'], unique=False)
    for table in ('study', 'experiment'):
        with op.batch_alter_table(table, schema=None) as batch_op:
            batch_op.add_column(sa.Column('owner', sa.String(), nullable=False, server_default=LOCAL))
            if table == 'experiment':
                batch_op.add_column(sa.Column('nominal_seconds', sa.Float(), nullable=True))
            batch_op.drop_constraint(f'uq_{table}_idempotency_key', type_='unique')
            batch_op.create_unique_constraint(f'uq_{table}_owner', ['owner', 'idempotency_key'])
            batch_op.create_index(f'ix_{table}_owner', ['owner'], unique=False)
        with op.batch_alter_table(table, schema=None) as batch_op:
            batch_op.alter_column('owner', existing_type=sa.String(), existing_nullable=False, server_default=None)
    with op.batch_alter_table('run', schema=None) as batch_op:
        batch_op.add_column(sa.Column('owner', sa.String(), nullable=False, server_default=LOCAL))
        batch_op.add_column(sa.Column('pause_requested', sa.Boolean(), nullable=False, server_default=sa.false()))
        batch_op.create_index('ix_run_owner_status', ['owner', 'status'], unique=False)
    with op.batch_alter_table('run', schema=None) as batch_op:
        batch_op.alter_column('owner', existing_type=sa.String(), existing_nullable=False, server_default=None)
        batch_op.alter_column('pause_requested', existing_type=sa.Boolean(), existing_nullable=False, server_default=None)
    op.execute(sa.text("INSERT INTO owner (name, turn) VALUES ('local', 0)"))


def downgrade() -> None:
    """Back. Keys and owners are forgotten."""
    with op.batch_alter_table('run', schema=None) as batch_op:
        batch_op.drop_index('ix_run_owner_status')
        batch_op.drop_column('pause_requested')
        batch_op.drop_column('owner')
    for table in ('experiment', 'study'):
        with op.batch_alter_table(table, schema=None) as batch_op:
            batch_op.drop_index(f'ix_{table}_owner')
            batch_op.drop_constraint(f'uq_{table}_owner', type_='unique')
            batch_op.create_unique_constraint(f'uq_{table}_idempotency_key', ['idempotency_key'])
            if table == 'experiment':
                batch_op.drop_column('nominal_seconds')
            batch_op.drop_column('owner')
    op.drop_table('api_key')
    op.drop_table('owner')

"""studies, the experiments that are their cells, the runs that took over an equal one's results.

Revision: 0004, after 0003
"""

import sqlalchemy as sa
from alembic import op


revision = '0004'
down_revision = '0003'
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Forward."""
    op.create_table(
        'study',
        sa.Column('id', sa.String(), nullable=False),
        sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
        sa.Column('name', sa.String(), nullable=False),
        sa.Column('labels', sa.JSON(), nullable=False),
        sa.Column('recipe', sa.String(), nullable=True),
        sa.Column('scale', sa.String(), nullable=True),
        sa.Column('submitted', sa.JSON(), nullable=False),
        sa.Column('design', sa.JSON(), nullable=False),
        sa.Column('nominal_seconds', sa.JSON(), nullable=False),
        sa.Column('reuse', sa.Boolean(), nullable=False),
        sa.Column('idempotency_key', sa.String(), nullable=True),
        sa.Column('request_hash', sa.String(), nullable=False),
        sa.PrimaryKeyConstraint('id', name='pk_study'),
        sa.UniqueConstraint('idempotency_key', name='uq_study_idempotency_key'),
    )
    op.create_index('ix_study_created_at_id', 'study', ['created_at', 'id'], unique=False)
    op.create_index('ix_study_recipe', 'study', ['recipe'], unique=False)
    with op.batch_alter_table('experiment', schema=None) as batch_op:
        batch_op.add_column(sa.Column('study_id', sa.String(), nullable=True))
        batch_op.add_column(sa.Column('cell', sa.String(), nullable=True))
        batch_op.add_column(sa.Column('memory_bytes', sa.BigInteger(), nullable=True))
        batch_op.create_foreign_key('fk_experiment_study_id_study', 'study', ['study_id'], ['id'])
        batch_op.create_index('ix_experiment_study_id', ['study_id'], unique=False)
    with op.batch_alter_table('run', schema=None) as batch_op:
        batch_op.add_column(sa.Column('reused_from', sa.String(), nullable=True))


def downgrade() -> None:
    """Back."""
    with op.batch_alter_table('run', schema=None) as batch_op:
        batch_op.drop_column('reused_from')
    with op.batch_alter_table('experiment', schema=None) as batch_op:
        batch_op.drop_index('ix_experiment_study_id')
        batch_op.drop_constraint('fk_experiment_study_id_study', type_='foreignkey')
        batch_op.drop_column('memory_bytes')
        batch_op.drop_column('cell')
        batch_op.drop_column('study_id')
    op.drop_table('study')

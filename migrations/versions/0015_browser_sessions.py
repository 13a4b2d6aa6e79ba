"""what browsers hold in the place of a key, and the codes that begin it.

Revision: 0015, after 0014
"""

import sqlalchemy as sa
from alembic import op


revision = '0015'
down_revision = '0014'
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Forward."""
    op.create_table(
        'browser_session',
        sa.Column('sha256', sa.String(), nullable=False),
        sa.Column('key_id', sa.String(), nullable=False),
        sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
        sa.Column('seen_at', sa.DateTime(timezone=True), nullable=False),
        sa.Column('expires_at', sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(['key_id'], ['api_key.id'], name='fk_browser_session_key_id_api_key'),
        sa.PrimaryKeyConstraint('sha256', name='pk_browser_session'),
    )
    with op.batch_alter_table('browser_session', schema=None) as batch_op:
        batch_op.create_index('ix_browser_session_key_id', ['key_id'], unique=False)
    op.create_table(
        'login_code',
        sa.Column('sha256', sa.String(), nullable=False),
        sa.Column('key_id', sa.String(), nullable=False),
        sa.Column('expires_at', sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(['key_id'], ['api_key.id'], name='fk_login_code_key_id_api_key'),
        sa.PrimaryKeyConstraint('sha256', name='pk_login_code'),
    )


def downgrade() -> None:
    """Back. Everybody is logged out."""
    op.drop_table('login_code')
    with op.batch_alter_table('browser_session', schema=None) as batch_op:
        batch_op.drop_index('ix_browser_session_key_id')
    op.drop_table('browser_session')

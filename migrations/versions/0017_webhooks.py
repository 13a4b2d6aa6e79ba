"""addresses that are told of ends, what they are told, and who tells it.

Revision: 0017, after 0016
"""

import sqlalchemy as sa
from alembic import op


revision = '0017'
down_revision = '0016'
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Forward."""
    op.create_table(
        'webhook',
        sa.Column('id', sa.String(), nullable=False),
        sa.Column('owner', sa.String(), nullable=False),
        sa.Column('all_owners', sa.Boolean(), nullable=False),
        sa.Column('url', sa.String(), nullable=False),
        sa.Column('format', sa.String(), nullable=False),
        sa.Column('events', sa.JSON(), nullable=False),
        sa.Column('labels', sa.JSON(), nullable=False),
        sa.Column('secret', sa.String(), nullable=False),
        sa.Column('service_url', sa.String(), nullable=False),
        sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
        sa.Column('since', sa.BigInteger(), nullable=False),
        sa.Column('succeeded_at', sa.DateTime(timezone=True), nullable=True),
        sa.Column('disabled_at', sa.DateTime(timezone=True), nullable=True),
        sa.Column('disabled_reason', sa.String(), nullable=True),
        sa.PrimaryKeyConstraint('id', name='pk_webhook'),
    )
    op.create_index('ix_webhook_owner', 'webhook', ['owner'])
    op.create_table(
        'webhook_delivery',
        sa.Column('id', sa.String(), nullable=False),
        sa.Column('webhook_id', sa.String(), nullable=False),
        sa.Column('type', sa.String(), nullable=False),
        sa.Column('subject_id', sa.String(), nullable=False),
        sa.Column('body', sa.Text(), nullable=False),
        sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
        sa.Column('status', sa.String(), nullable=False),
        sa.Column('tries', sa.Integer(), nullable=False),
        sa.Column('due_at', sa.DateTime(timezone=True), nullable=True),
        sa.Column('tried_at', sa.DateTime(timezone=True), nullable=True),
        sa.Column('http_status', sa.Integer(), nullable=True),
        sa.Column('answer', sa.Text(), nullable=True),
        sa.Column('error', sa.String(), nullable=True),
        sa.ForeignKeyConstraint(
            ['webhook_id'], ['webhook.id'], name='fk_webhook_delivery_webhook_id_webhook', ondelete='CASCADE'
        ),
        sa.PrimaryKeyConstraint('id', name='pk_webhook_delivery'),
    )
    op.create_index(
        'ix_webhook_delivery_webhook_id_created_at', 'webhook_delivery', ['webhook_id', 'created_at']
    )
    op.create_index('ix_webhook_delivery_due_at', 'webhook_delivery', ['due_at'])
    op.create_table(
        'webhook_sender',
        sa.Column('id', sa.Integer(), nullable=False),
        sa.Column('told', sa.BigInteger(), nullable=False),
        sa.Column('holder', sa.String(), nullable=True),
        sa.Column('fence', sa.Integer(), nullable=False),
        sa.Column('heartbeat', sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint('id', name='pk_webhook_sender'),
    )
    op.execute('INSERT INTO webhook_sender (id, told, fence, heartbeat) VALUES (1, 0, 0, 0)')


def downgrade() -> None:
    """Back. Nobody is told any more."""
    op.drop_table('webhook_sender')
    op.drop_index('ix_webhook_delivery_due_at', 'webhook_delivery')
    op.drop_index('ix_webhook_delivery_webhook_id_created_at', 'webhook_delivery')
    op.drop_table('webhook_delivery')
    op.drop_index('ix_webhook_owner', 'webhook')
    op.drop_table('webhook')

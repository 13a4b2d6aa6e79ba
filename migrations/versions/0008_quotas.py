"""quotas of owners and roles, and what they are asked for: training by day, bytes of artifacts.

Revision: 0008, after 0007
"""

from collections import defaultdict
from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op


revision = '0008'
down_revision = '0007'
branch_labels = None
depends_on = None

MIGHTIEST_FIRST = ('admin', 'submit', 'read')


def upgrade() -> None:
    """Forward. What was trained and published before counts; attempts of runs that are deleted are not known any more."""
    with op.batch_alter_table('owner', schema=None) as batch_op:
        batch_op.add_column(sa.Column('role', sa.String(), nullable=True))
        batch_op.add_column(sa.Column('max_queued', sa.Integer(), nullable=True))
        batch_op.add_column(sa.Column('max_running', sa.Integer(), nullable=True))
        batch_op.add_column(sa.Column('max_week_seconds', sa.Float(), nullable=True))
        batch_op.add_column(sa.Column('max_bytes', sa.BigInteger(), nullable=True))
    op.create_table(
        'role_quota',
        sa.Column('role', sa.String(), nullable=False),
        sa.Column('max_queued', sa.Integer(), nullable=True),
        sa.Column('max_running', sa.Integer(), nullable=True),
        sa.Column('max_week_seconds', sa.Float(), nullable=True),
        sa.Column('max_bytes', sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint('role', name='pk_role_quota'),
    )
    op.create_table(
        'training_day',
        sa.Column('owner', sa.String(), nullable=False),
        sa.Column('day', sa.String(), nullable=False),
        sa.Column('seconds', sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint('owner', 'day', name='pk_training_day'),
    )
    with op.batch_alter_table('run', schema=None) as batch_op:
        batch_op.add_column(sa.Column('artifact_bytes', sa.BigInteger(), nullable=False, server_default='0'))
    with op.batch_alter_table('run', schema=None) as batch_op:
        batch_op.alter_column('artifact_bytes', existing_type=sa.BigInteger(), existing_nullable=False, server_default=None)
        batch_op.drop_index('ix_run_owner_status')
        batch_op.create_index('ix_run_owner_status_artifact_bytes', ['owner', 'status', 'artifact_bytes'], unique=False)
    op.execute(
        sa.text(
            'UPDATE run SET artifact_bytes = (SELECT sum(size_bytes) FROM artifact WHERE artifact.run_id = run.id)'
            ' WHERE EXISTS (SELECT 1 FROM artifact WHERE artifact.run_id = run.id)'
        )
    )
    for role in reversed(MIGHTIEST_FIRST):
        op.execute(
            sa.text(
                'UPDATE owner SET role = :role WHERE EXISTS'
                ' (SELECT 1 FROM api_key WHERE api_key.owner = owner.name AND api_key.role = :role AND revoked_at IS NULL)'
            ).bindparams(role=role)
        )
    _count_training()


def _count_training() -> None:
    """The seconds of every attempt that has ended, on the day it ended."""
    time = sa.DateTime(timezone=True)
    attempt = sa.table('attempt', sa.column('run_id'), sa.column('started_at', time), sa.column('finished_at', time))
    run = sa.table('run', sa.column('id'), sa.column('owner'))
    rows = op.get_bind().execute(
        sa.select(run.c.owner, attempt.c.started_at, attempt.c.finished_at)
        .join(run, run.c.id == attempt.c.run_id)
        .where(attempt.c.finished_at.is_not(None))
    )
    seconds: dict[tuple[str, str], float] = defaultdict(float)
    for owner, started_at, finished_at in rows:
        seconds[owner, _day(finished_at)] += max(0.0, (finished_at - started_at).total_seconds())
    if seconds:
        training_day = sa.table('training_day', sa.column('owner'), sa.column('day'), sa.column('seconds'))
        op.bulk_insert(
            training_day,
            [{'owner': owner, 'day': day, 'seconds': spent} for (owner, day), spent in sorted(seconds.items())],
        )


def _day(moment: datetime) -> str:
    """In UTC, as SQLite keeps it without saying so."""
    return (moment if moment.tzinfo is None else moment.astimezone(UTC)).date().isoformat()


def downgrade() -> None:
    """Back. Quotas are forgotten, and how long was trained by day."""
    with op.batch_alter_table('run', schema=None) as batch_op:
        batch_op.drop_index('ix_run_owner_status_artifact_bytes')
        batch_op.create_index('ix_run_owner_status', ['owner', 'status'], unique=False)
        batch_op.drop_column('artifact_bytes')
    op.drop_table('training_day')
    op.drop_table('role_quota')
    with op.batch_alter_table('owner', schema=None) as batch_op:
        for name in ('max_bytes', 'max_week_seconds', 'max_running', 'max_queued', 'role'):
            batch_op.drop_column(name)

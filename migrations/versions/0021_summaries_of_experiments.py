"""what lists filter and sort by, kept for each experiment; the code of a run's error; an index of who moved a run.

Revision: 0021, after 0020
"""

import sqlalchemy as sa
from alembic import op


revision = '0021'
down_revision = '0020'
branch_labels = None
depends_on = None

run = sa.table('run', sa.column('error', sa.JSON()), sa.column('error_code', sa.String()))
LASTED = {
    'sqlite': """(CAST(strftime('%s', max(r.finished_at)) AS INTEGER) - CAST(strftime('%s', min(r.started_at)) AS INTEGER))
        * 1000000 + CAST(substr(max(r.finished_at), 21, 6) AS INTEGER) - CAST(substr(min(r.started_at), 21, 6) AS INTEGER)""",
    'postgresql': """CAST(extract(epoch FROM max(r.finished_at)) * 1000000 AS BIGINT)
        - CAST(extract(epoch FROM min(r.started_at)) * 1000000 AS BIGINT)""",
}
NUMBER = {
    'sqlite': """CAST(avg(CASE WHEN r.status = 'succeeded' THEN CAST(json_extract(r.{column}, '$.{path}') AS NUMERIC) END) AS FLOAT)""",
    'postgresql': """CAST(avg(CASE WHEN r.status = 'succeeded' THEN CAST(r.{column} #>> '{{{keys}}}' AS NUMERIC) END) AS FLOAT)""",
}


def upgrade() -> None:
    """Forward. Summaries of what is there are worked out once."""
    op.add_column('run', sa.Column('error_code', sa.String(), nullable=True))
    code = run.c.error['code'].as_string()
    op.execute(run.update().where(code.is_not(None)).values(error_code=code))
    op.create_index('ix_run_status_error_code', 'run', ['status', 'error_code'])
    op.create_index('ix_status_change_actor_from_status', 'status_change', ['actor', 'from_status'])
    op.create_table(
        'experiment_summary',
        sa.Column('experiment_id', sa.String(), nullable=False),
        sa.Column('owner', sa.String(), nullable=False),
        sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
        sa.Column('dataset', sa.String(), nullable=True),
        sa.Column('archived', sa.Boolean(), nullable=False),
        sa.Column('status', sa.String(), nullable=False),
        sa.Column('finished_at', sa.DateTime(timezone=True), nullable=True),
        sa.Column('lasted', sa.BigInteger(), nullable=True),
        sa.Column('test_accuracy', sa.Float(), nullable=True),
        sa.Column('test_loss', sa.Float(), nullable=True),
        sa.Column('val_accuracy', sa.Float(), nullable=True),
        sa.Column('val_loss', sa.Float(), nullable=True),
        sa.PrimaryKeyConstraint('experiment_id', name=op.f('pk_experiment_summary')),
    )
    op.execute(_summaries(op.get_bind().dialect.name))
    op.create_index(
        'ix_experiment_summary_status', 'experiment_summary', ['status', 'created_at', 'experiment_id']
    )
    op.create_index(
        'ix_experiment_summary_owner_status',
        'experiment_summary',
        ['owner', 'status', 'created_at', 'experiment_id'],
    )
    op.create_index(
        'ix_experiment_summary_counted', 'experiment_summary', ['owner', 'dataset', 'archived', 'status']
    )
    op.create_index(
        'ix_experiment_summary_test_accuracy',
        'experiment_summary',
        ['test_accuracy', 'created_at', 'experiment_id'],
    )


def downgrade() -> None:
    """Back."""
    op.drop_table('experiment_summary')
    op.drop_index('ix_status_change_actor_from_status', 'status_change')
    op.drop_index('ix_run_status_error_code', 'run')
    with op.batch_alter_table('run') as batch:
        batch.drop_column('error_code')


def _summaries(dialect: str) -> sa.TextClause:
    """`states.experiment_status` and the rest, as of this revision."""
    def any_is(*statuses: str) -> str:
        return f"max(CASE WHEN r.status IN {statuses!r} THEN 1 ELSE 0 END) = 1".replace(',)', ')')

    def number(column: str, *keys: str) -> str:
        return NUMBER[dialect].format(column=column, path='.'.join(keys), keys=','.join(keys))

    ended = "count(r.finished_at) = count(*)"
    columns = {
        'experiment_id': 'e.id',
        'owner': 'e.owner',
        'created_at': 'e.created_at',
        'dataset': 'e.dataset',
        'archived': 'e.archived',
        'status': f"""CASE
            WHEN {any_is('running')} THEN 'running'
            WHEN {any_is('queued')} AND {any_is('succeeded', 'failed', 'cancelled')} THEN 'running'
            WHEN {any_is('queued')} THEN 'queued'
            WHEN {any_is('paused')} THEN 'paused'
            WHEN {any_is('failed')} THEN 'failed'
            WHEN {any_is('cancelled')} THEN 'cancelled'
            ELSE 'succeeded' END""",
        'finished_at': f'CASE WHEN {ended} THEN max(r.finished_at) END',
        'lasted': f'CASE WHEN {ended} THEN {LASTED[dialect]} END',
        'test_accuracy': number('test', 'accuracy'),
        'test_loss': number('test', 'loss'),
        'val_accuracy': number('best', 'val', 'accuracy'),
        'val_loss': number('best', 'val', 'loss'),
    }
    return sa.text(
        f"INSERT INTO experiment_summary ({', '.join(columns)})"
        f" SELECT {', '.join(columns.values())} FROM experiment e JOIN run r ON r.experiment_id = e.id GROUP BY e.id"
    )

"""The Celery application of one worker, on Redis or on a broker of its own memory."""

from typing import Any

from celery import Celery

from app.doorbell import CELERY_SETTINGS, REDIS_TRANSPORT
from app.settings import Settings
from worker.inner_bell import use_inner_bell
from worker.steady import SteadyConsumer, use_steady_transport

# Early acknowledgement and no remote control; the lease in the database does the job that late acknowledgement only
# pretends to do. A broker that is down is waited for, however long.
WORKER_SETTINGS: dict[str, Any] = {
    "accept_content": ["json"],
    "task_acks_late": False,
    "task_reject_on_worker_lost": False,
    "worker_prefetch_multiplier": 1,
    "worker_cancel_long_running_tasks_on_connection_loss": False,
    "worker_enable_remote_control": False,
    "worker_send_task_events": False,
    "worker_soft_shutdown_timeout": 0,
    "worker_proc_alive_timeout": 60,
    "worker_hijack_root_logger": False,
    "broker_connection_retry_on_startup": True,
    "broker_connection_max_retries": None,
}


def make_celery(settings: Settings) -> Celery:
    """With `LAB_BROKER_URL` the workers share Redis; without, this worker rings itself through `memory://`."""
    celery = Celery("lab", broker=settings.broker_url or "memory://", fixups=())
    celery.conf.update(**CELERY_SETTINGS, **WORKER_SETTINGS)
    if settings.embedded:
        use_inner_bell()
    else:
        use_steady_transport()
        celery.conf.update(
            broker_transport_options=REDIS_TRANSPORT,
            worker_disable_prefetch=True,
            worker_consumer=SteadyConsumer,
        )
    return celery

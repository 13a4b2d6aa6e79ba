"""The Celery application of one worker, on Redis or on a broker of its own memory."""

from celery import Celery

from app.doorbell import CELERY_SETTINGS, REDIS_TRANSPORT
from app.settings import Settings
from worker.steady import SteadyConsumer, use_steady_transport

MEMORY_POLLING_SECONDS = 0.02


def make_celery(settings: Settings) -> Celery:
    """With `LAB_BROKER_URL` the workers share Redis; without, this worker rings itself through `memory://`."""
    celery = Celery("lab", broker=settings.broker_url or "memory://")
    celery.conf.update(**CELERY_SETTINGS)
    if settings.embedded:
        celery.conf.update(broker_transport_options={"polling_interval": MEMORY_POLLING_SECONDS})
    else:
        use_steady_transport()
        celery.conf.update(
            broker_transport_options=REDIS_TRANSPORT,
            worker_disable_prefetch=True,
            worker_consumer=SteadyConsumer,
        )
    return celery

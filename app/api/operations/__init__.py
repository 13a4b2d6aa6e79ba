"""The service itself over HTTP, for those who run it: health, workers, the queue, and numbers for Prometheus."""

from app.api.operations import operations, prometheus, waiting

ROUTERS = (prometheus.router, operations.router, waiting.router)

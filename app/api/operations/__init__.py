"""The service itself over HTTP, for those who run it: health, workers, the queue, owners, and numbers for
Prometheus.
"""

from app.api.operations import operations, owners, prometheus, waiting

ROUTERS = (prometheus.router, operations.router, owners.router, waiting.router)

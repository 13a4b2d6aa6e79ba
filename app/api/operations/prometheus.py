"""`GET /metrics` for Prometheus: the service's numbers from the database, this process's answers beside them."""

import platform
import shutil
from collections.abc import Iterable, Iterator, Mapping
from itertools import accumulate
from typing import Annotated, Final, TypeVar

from fastapi import Response
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from app.api.http import passes
from app.api.http.connection_bounds import Connections
from app.api.http.deps import Reading, TheCaller, TheSettings
from app.api.http.parameters import Given
from app.api.http.traffic import BUCKETS_SECONDS, Traffic
from app.errors import Forbidden
from app.services.upkeep import telemetry
from app.services.upkeep.telemetry import Telemetry
from lab_models.common.revision import package_version, source_revision

UPPER_ENDS: Final = (*map(str, BUCKETS_SECONDS), "+Inf")
FALLS: Final = "deletions and retries lower it, so compare with an `offset` instead of increase()"

Labelled = TypeVar("Labelled", GaugeMetricFamily, CounterMetricFamily)

TheTraffic = Annotated[Traffic, Given(lambda request: request.app.state.traffic)]
ThePasses = Annotated[passes.Passes, Given(lambda request: request.app.state.passes)]

TheConnections = Annotated[Connections, Given(lambda request: request.app.state.connections)]

router = passes.router(tags=["operations"])


@router.get(
    "/metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
def read_metrics(
    traffic: TheTraffic,
    lanes: ThePasses,
    connections: TheConnections,
    session: Reading,
    settings: TheSettings,
    caller: TheCaller,
) -> Response:
    """Queue, runs, failures, epochs, leases, workers, disk and requests, in Prometheus' text format; of everybody's, so
    for `read` and `admin` keys alone.
    """
    if not caller.sees_all:
        raise Forbidden(
            f"the key of {caller.owner} has the role '{caller.role}', and the numbers of the whole service need 'read'"
            " or 'admin'"
        )
    registry = CollectorRegistry()
    of_process = (*_process(traffic), *_lines(lanes), *_connections(connections))
    registry.register(
        _Snapshot(
            [
                *_service(telemetry.read(session)),
                *of_process,
                *_machine(shutil.disk_usage(settings.home).free),
            ]
        )
    )
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)


class _Snapshot(Collector):
    """Families that are there already; a registry of one answer needs no more."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = tuple(families)

    def collect(self) -> Iterable[Metric]:
        """All of them."""
        return self._families


def _service(now: Telemetry) -> Iterator[Metric]:
    """What the database says, the same from every process."""
    yield GaugeMetricFamily(
        "lab_queue_depth", "Runs that a worker could claim now.", value=now.queue_depth
    )
    oldest = "How long the run has waited that has waited longest of those a worker could claim now; 0 when none waits."
    yield GaugeMetricFamily("lab_queue_oldest_wait_seconds", oldest, value=now.oldest_wait_seconds)
    yield _labelled(GaugeMetricFamily("lab_runs", "Runs by status.", labels=["status"]), now.runs)
    yield _labelled(
        CounterMetricFamily(
            "lab_run_failures", f"Runs that have failed, by error code; {FALLS}.", labels=["code"]
        ),
        now.failures,
    )
    epochs = (
        "Mean time to train and validate one epoch, by architecture, over the runs that run or ended within the last"
        " hour."
    )
    yield _labelled(
        GaugeMetricFamily("lab_epoch_seconds", epochs, labels=["arch"]), now.epoch_seconds
    )
    losses = f"Times that a run was taken back from a worker that gave no sign of life; {FALLS}."
    yield CounterMetricFamily("lab_lease_losses", losses, value=now.lease_losses)
    yield _labelled(
        GaugeMetricFamily(
            "lab_workers_online",
            "Workers that were seen lately and can train, by device.",
            labels=["device"],
        ),
        now.workers_online,
    )
    yield _labelled(
        GaugeMetricFamily(
            "lab_workers_in_trouble",
            "Workers that were seen lately and cannot train, by device.",
            labels=["device"],
        ),
        now.workers_in_trouble,
    )


def _machine(free_bytes: int) -> Iterator[Metric]:
    yield GaugeMetricFamily(
        "lab_disk_free_bytes", "Free space of the disk that LAB_HOME is on.", value=free_bytes
    )
    build = GaugeMetricFamily(
        "lab_build_info", "Which code answers; always 1.", labels=["version", "revision", "python"]
    )
    build.add_metric(
        [package_version() or "unknown", source_revision() or "unknown", platform.python_version()],
        1,
    )
    yield build


def _process(traffic: Traffic) -> Iterator[Metric]:
    """What this process has answered since it started."""
    requests = CounterMetricFamily(
        "lab_http_requests",
        "Requests that this process has answered.",
        labels=["method", "route", "status"],
    )
    for labels, count in sorted(traffic.requests().items()):
        requests.add_metric(labels, count)
    yield requests
    durations = HistogramMetricFamily(
        "lab_http_request_seconds",
        "How long this process took from a request to the end of its answer.",
        labels=["method", "route"],
    )
    for route, measured in sorted(traffic.durations().items()):
        cumulative = map(float, accumulate(measured.buckets))
        durations.add_metric(
            route, list(zip(UPPER_ENDS, cumulative, strict=True)), measured.sum_seconds
        )
    yield durations


def _lines(lanes: passes.Passes) -> Iterator[Metric]:
    """Who waits in this process for a turn at the database."""
    waiting = GaugeMetricFamily(
        "lab_http_waiting", "Requests of this process that wait for their turn.", labels=["lane"]
    )
    refused = CounterMetricFamily(
        "lab_http_refused",
        "Requests that this process has answered 503 because too many waited.",
        labels=["lane"],
    )
    for lane in lanes.lanes:
        waiting.add_metric([lane.name], lane.num_waiting)
        refused.add_metric([lane.name], lane.num_refused)
    yield waiting
    yield refused


def _connections(connections: Connections) -> Iterator[Metric]:
    """Who is connected to this process, and whom it did not wait for."""
    yield GaugeMetricFamily(
        "lab_http_connections",
        "Connections of this process that are open.",
        value=connections.num_open,
    )
    refused = CounterMetricFamily(
        "lab_http_connections_refused",
        "Connections closed with 503 because too many were open, in all or of one address.",
        labels=["bound"],
    )
    yield _labelled(refused, connections.num_refused)
    yield GaugeMetricFamily(
        "lab_http_held_bytes",
        "Bytes of bodies not answered and of answers not read.",
        value=connections.held.num_bytes,
    )
    unheld = "Requests answered 503 and connections closed because so many bytes were held."
    yield CounterMetricFamily("lab_http_held_refused", unheld, value=connections.held.num_refused)
    slow = (
        "Requests that this process has ended because the client took too long to send headers or body, or to read the"
        " answer."
    )
    yield _labelled(
        CounterMetricFamily("lab_http_too_slow", slow, labels=["part"]), connections.num_too_slow
    )


def _labelled(family: Labelled, values: Mapping[str, float]) -> Labelled:
    for label, value in values.items():
        family.add_metric([label], value)
    return family

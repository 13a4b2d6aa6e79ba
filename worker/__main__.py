"""`python -m worker`: one worker with one slot. `lab worker` starts as many of these as asked for."""

import argparse
import logging
import os
import sys
import warnings

from celery.exceptions import CPendingDeprecationWarning, SecurityWarning
from celery.signals import setup_logging

from app.devices import Dealt, deal, num_cores
from app.errors import Misconfigured
from app.home import home_in_use
from app.logging import set_up_logging
from app.settings import Settings
from app.storage.db import open_database
from lab_models.running.process import die_with_parent
from lab_models.running.threads import share_of
from worker.celery import make_celery
from worker.identity import identify
from worker.tasks import install, leave


def main() -> int:
    """Migrate if needed, then hand over to Celery until a signal ends it."""
    parser = argparse.ArgumentParser(prog="python -m worker")
    parser.add_argument(
        "--slot", type=int, default=0, help="which of this machine's workers this is, from 0"
    )
    parser.add_argument("--slots", type=int, default=1, help="how many workers this machine has")
    parser.add_argument("--dealt", help="what LAB_DEVICES comes to, where that is known already")
    parser.add_argument("--parent-pid", type=int, help="die when this process dies")
    options = parser.parse_args()
    if options.parent_pid is not None:
        die_with_parent(options.parent_pid)
    settings = Settings()
    set_up_logging(settings.log_level, settings.log_format)
    try:
        open_database(settings).close()
        dealt = deal(settings.devices) if options.dealt is None else Dealt.read(options.dealt)
    except Misconfigured as error:
        sys.stderr.write(f"{error}\n")
        return 2
    cores = num_cores()
    setup_logging.connect(lambda **_: None, weak=False)  # keeps Celery from setting up its own
    celery = make_celery(settings)
    device = dealt.of_slot(options.slot)
    identity = identify(
        device,
        settings.threads or share_of(cores, options.slots),
        options.slot,
        cores=settings.threads or cores,
        threads_are_set=settings.threads > 0,
        gpus_found=dealt.devices if dealt.is_auto and device != "cpu" else (),
        caution=dealt.caution,
        on_device=tuple(
            slot for slot, of in enumerate(dealt.of_slots(options.slots)) if of == device
        ),
    )
    install(celery, settings, identity)
    quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    # tasks are JSON without content; root runs nothing that a client sent
    warnings.filterwarnings("ignore", category=SecurityWarning)
    # of a setting of Celery 6 that is set already
    warnings.filterwarnings("ignore", category=CPendingDeprecationWarning)
    # memory:// has no host name, and kombu says so each time
    logging.getLogger("kombu.connection").setLevel(logging.ERROR)
    with home_in_use(settings.home, settings.database_name):
        celery.worker_main(
            [
                "--quiet",
                "worker",
                "--pool",
                "prefork",
                "--concurrency",
                "1",
                "--hostname",
                f"slot{options.slot}-{os.getpid()}@%h",
                *quiet,
            ]
        )
    return 0


if __name__ == "__main__":
    leave(main())

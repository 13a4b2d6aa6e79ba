"""The process that draws pictures: `python -m app.plots`. Figures come in on the socket at standard input, pictures go
out on it, one after the other.

It knows neither the database nor the service, ends with its parent, and gives way to training.
"""

import argparse
import gc
import logging
import pickle
import signal
import time
import traceback
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Final

from app.logging import set_up_logging
from app.plots.wire import HEAD
from lab_models.running.process import die_with_parent, give_way, leave_no_core_files

STANDARD_INPUT: Final = 0
NICENESS: Final = 2
"""Behind the API, before training (5): what pictures may take of the cores is bounded by a budget
(`app.api.http.drawings`), not by waiting.
"""


def main() -> None:
    """Draw until the other end closes."""
    options = _parser().parse_args()
    die_with_parent(options.parent_pid)
    leave_no_core_files()
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # quietly
    give_way(options.niceness)
    set_up_logging(options.log_level, options.log_format)
    logging.captureWarnings(True)
    # after the tie to the parent: loading matplotlib takes half a second
    from app.plots.drawing import draw, warm_up

    warm_up()
    gc.collect()
    gc.freeze()
    gc.disable()  # what a picture leaves is collected when it has been sent
    with suppress(EOFError, ConnectionError), Connection(STANDARD_INPUT) as asked:
        while True:
            question, began = asked.recv_bytes(), time.process_time()
            try:
                is_drawn, answer = True, draw(*pickle.loads(question))  # noqa: S301 - from the parent alone
            except Exception:  # noqa: BLE001 - the parent raises it again
                is_drawn, answer = False, traceback.format_exc().encode()
            asked.send_bytes(HEAD.pack(is_drawn, time.process_time() - began) + answer)
            del question, answer
            gc.collect()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m app.plots", description="Draw pictures for the service that starts it."
    )
    parser.add_argument("--parent-pid", type=int, required=True)
    parser.add_argument("--niceness", type=int, default=NICENESS)
    parser.add_argument("--log-level", default="INFO")
    parser.add_argument("--log-format", default="text")
    return parser


if __name__ == "__main__":
    main()

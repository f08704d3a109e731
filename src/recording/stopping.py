"""How a run is told to stop: SIGINT (Ctrl-C) and SIGTERM."""

import signal
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopping:
    """Within this context a signal asks the run to stop at its next report, so that its state can be saved.

    A second signal stops at once, as does one while there is nothing to lose: before the first report.
    """

    def __init__(self):
        self.asked = False
        self.reported = False  # set by whoever drives the run

    def __enter__(self) -> "Stopping":
        self.before = {number: signal.signal(number, self._handle) for number in SIGNALS}
        return self

    def __exit__(self, *error: Any) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: Any) -> None:
        if self.asked or not self.reported:
            raise KeyboardInterrupt
        self.asked = True

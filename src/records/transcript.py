"""A run's output in plain lines for its record, without the progress bar and its control codes."""

import io
from typing import Any

from rich.console import Console


class Transcript:
    """Plain text, written beside the screen; Sacred stores it as the run's captured output."""

    def __init__(self) -> None:
        self._text = io.StringIO()
        self._console = Console(
            file=self._text,
            width=120,
            highlight=False,
            markup=False,
            emoji=False,
            force_terminal=False,
            color_system=None,
        )

    def say(self, what: Any) -> None:
        """Add a line or a rich table."""
        self._console.print(what, soft_wrap=isinstance(what, str))

    def keep_with(self, sacred_run: Any) -> None:
        """Use this text as the run's captured output, which Sacred reads at each heartbeat."""
        sacred_run.captured_out_filter = lambda _: self.text

    @property
    def text(self) -> str:
        return self._text.getvalue()

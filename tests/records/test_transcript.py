"""What a run says, kept as plain text."""

import io

import pytest
from rich.console import Console

from tandem.core import Report
from tandem.records.progress import Progress
from tandem.records.screen import Screen
from tandem.records.transcript import Transcript


@pytest.mark.parametrize("terminal", [True, False])
def test_the_transcript_holds_plain_lines_whether_or_not_a_bar_is_shown(monkeypatch, terminal):
    out = io.StringIO()
    monkeypatch.setattr("sys.stdout", out)
    monkeypatch.setattr(out, "isatty", lambda: terminal, raising=False)
    progress, transcript = Progress(t_max=1000, max_seconds=0.0), Transcript()
    screen = Screen(progress, transcript)
    if terminal:
        screen.live.console = Console(file=out, force_terminal=True, width=80)
    screen.say("a beginning")
    with screen:
        report = Report(300, 2, {"eval/search/return": -3.25})
        progress.add(report)
        screen.show(report)
    lines = transcript.text.splitlines()
    assert lines[0] == "a beginning" and "compiling" in lines[1]
    assert lines[2].startswith("300 of 1,000 steps") and "search -3.25" in lines[2]
    assert "\x1b" not in transcript.text and len(lines) == 3
    assert ("\x1b" in out.getvalue()) == terminal


@pytest.mark.parametrize("terminal", [True, False])
def test_brackets_and_colons_in_a_traceback_are_shown_as_they_are(monkeypatch, terminal):
    note = "  self.envs[i].step() :warning: [bold]\nOSError: cannot open [/usr/share/game]"
    out = io.StringIO()
    monkeypatch.setattr("sys.stdout", out)
    monkeypatch.setattr(out, "isatty", lambda: terminal, raising=False)
    transcript = Transcript()
    Screen(Progress(t_max=1000, max_seconds=0.0), transcript).say(note)
    assert transcript.text == out.getvalue() == note + "\n"

"""TensorBoard as a person sees it: two recorded runs in a real browser, headless Chromium."""

import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from sacred import SETTINGS

from tests.reference.browser import PATIENCE, opened, started
from tests.reference.fake_runs import recorded, reports

LINES = """card => new Set([...card.querySelectorAll("line-chart svg path")]
    .filter(path => path.getBoundingClientRect().width > 50).map(path => path.style.stroke)).size"""


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """Return the log folder of two runs that differ in a setting, and their names."""
    folder = tmp_path_factory.mktemp("results")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SETTINGS, "CAPTURE_MODE", "no")
        for seed, rate in ((5, 0.25), (7, 0.75)):
            recorded(folder, reports(300), seed=seed, learner_args={"learning_rate": rate, "depth": 3})
    logs = folder / "tb_logs"
    return logs, sorted(str(path.parent.relative_to(logs)) for path in logs.rglob("events*"))


@pytest.fixture(scope="module")
def address(runs) -> Iterator[str]:
    """The address of a TensorBoard that has read both runs."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = ["-m", "tensorboard.main", "--logdir", str(runs[0]), "--host", "127.0.0.1", "--port", str(port)]
    process = subprocess.Popen([sys.executable, *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + PATIENCE
        while any(name not in asked(f"http://127.0.0.1:{port}/data/runs") for name in runs[1]):
            assert process.poll() is None and time.monotonic() < deadline, "TensorBoard does not show the runs"
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def asked(address: str) -> str:
    """Return what a server answers; nothing while it does not."""
    try:
        with urllib.request.urlopen(address, timeout=10) as answer:
            return answer.read().decode()
    except OSError:
        return ""


@pytest.fixture(scope="module")
def browser() -> Iterator:
    with started() as browser:
        yield browser


@pytest.fixture
def page(browser) -> Iterator:
    with opened(browser) as page:
        yield page


def test_the_scalar_charts_of_two_runs_are_drawn(page, address, runs):
    page.goto(f"{address}/?forceSVG=true&tagFilter=eval/main/return#timeseries")
    for name in runs[1]:
        page.locator("runs-table, runs-data-table").get_by_text(name).first.wait_for()
    card = page.locator("scalar-card").first
    card.locator("line-chart svg path").nth(3).wait_for(state="attached")  # for each run as measured, and smoothed
    assert card.get_by_text("eval/main/return").count() and card.evaluate(LINES) == 2


def test_the_hparams_table_compares_the_runs_by_the_setting_that_differs_and_the_main_result(page, address, runs):
    page.goto(f"{address}/#hparams")
    table = page.locator("tf-hparams-table-view")
    for text in ("learner_args.learning_rate", "eval/main/return", "0.25000", "0.75000", "-100.00"):
        table.get_by_text(text).first.wait_for()


def test_the_custom_scalars_begin_with_the_returns_of_both_runs(page, address, runs):
    page.goto(f"{address}/#custom_scalars")
    page.get_by_text("Team return").wait_for()
    chart = page.locator("tf-custom-scalar-multi-line-chart-card").first
    chart.get_by_text("Matches (2)").wait_for()
    chart.locator("path.line").nth(1).wait_for(state="attached")
    assert chart.get_by_text("evaluation, with search where there is one").count()

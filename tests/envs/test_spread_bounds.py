"""benchmarks/spread_bounds.py, which measures what score 0 and 1 of simple_spread are."""

import importlib
import sys
from pathlib import Path

import pytest

from tandem.envs.mpe_metrics import SPREAD_BOUNDS

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def spread_bounds(monkeypatch):
    monkeypatch.setattr(sys, "path", [str(BENCHMARKS), *sys.path])
    return importlib.import_module("spread_bounds")


@pytest.mark.jaxmarl
def test_measured_anew_the_bounds_are_where_they_were(spread_bounds, monkeypatch, capsys):
    written = {}
    monkeypatch.setattr(spread_bounds.harness, "write", written.__setitem__)
    everybody = spread_bounds.players
    few = lambda env: {name: act for name, act in everybody(env).items() if name in ("random", "optimal")}  # noqa: E731
    monkeypatch.setattr(spread_bounds, "players", few)
    monkeypatch.setattr(sys, "argv", ["spread_bounds.py", "--agents", "3", "--episodes", "600", "--seed", "5"])
    spread_bounds.main()
    found = written["spread_bounds"]["returns"][3]
    assert list(found) == ["random", "optimal"]
    for name, of in found.items():
        # Seven standard errors: of 600 episodes, and of those that the constants are the mean of.
        assert abs(of["mean"] - getattr(SPREAD_BOUNDS[3], name)) < 7 * of["stderr"] and 0.2 < of["stderr"] < 1.5
    shown = f"    3: Bounds({found['random']['mean']:.1f}, {found['optimal']['mean']:.1f}),"
    assert shown in capsys.readouterr().out

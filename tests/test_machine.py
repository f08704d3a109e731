"""How many cores this process may use."""

import os

import pytest

from src import machine


@pytest.mark.parametrize(("quota", "cores"), [("250000 100000", [1, 3, 5]), ("50000 100000", [1]), ("max 100000", [1, 3, 5, 6, 8])])
def test_a_container_that_pays_for_few_cores_of_many_is_believed(quota, cores, monkeypatch, tmp_path):
    (tmp_path / "cpu.max").write_text(f"{quota}\n")
    monkeypatch.setattr(machine, "CGROUP", tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {8, 1, 3, 6, 5})
    assert machine.cores() == cores


def test_without_a_container_all_cores_that_the_process_may_use_count(monkeypatch, tmp_path):
    monkeypatch.setattr(machine, "CGROUP", tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {4, 2})
    assert machine.cores() == [2, 4]

"""How many cores this process may use, and how much memory."""

import os
import resource

import pytest

from tandem import machine


@pytest.mark.parametrize(
    ("quota", "cores"), [("250000 100000", [1, 3, 5]), ("50000 100000", [1]), ("max 100000", [1, 3, 5, 6, 8])]
)
def test_a_container_that_pays_for_few_cores_of_many_is_believed(quota, cores, monkeypatch, tmp_path):
    (tmp_path / "cpu.max").write_text(f"{quota}\n")
    monkeypatch.setattr(machine, "CGROUP", tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {8, 1, 3, 6, 5})
    assert machine.cores() == cores


def test_without_a_container_all_cores_that_the_process_may_use_count(monkeypatch, tmp_path):
    monkeypatch.setattr(machine, "CGROUP", tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {4, 2})
    assert machine.cores() == [2, 4]


@pytest.fixture
def folders(monkeypatch, tmp_path):
    """Folders for /proc and the control groups, and no limit but those that a test writes there."""
    for name in ("proc", "groups"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(machine, "PROC", tmp_path / "proc")
    monkeypatch.setattr(machine, "CGROUP", tmp_path / "groups")
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    put(tmp_path / "proc" / "meminfo", "MemTotal: 900 kB\nMemAvailable:   700 kB\n")
    return tmp_path


def put(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def group(folder, most, used, idle, names=("memory.max", "memory.current", "inactive_file")):
    for name, text in zip(
        (*names[:2], "memory.stat"), (f"{most}\n", f"{used}\n", f"anon 5\n{names[2]} {idle}\n"), strict=True
    ):
        put(folder / name, text)


def test_the_machines_free_memory_counts_where_nothing_else_limits(folders):
    assert machine.free_memory() == (700 * 1024, "the machine's memory")


def test_a_container_counts_with_its_parents_and_without_files_that_can_make_room(folders):
    put(folders / "proc" / "self" / "cgroup", "0::/outer/inner\n")
    group(folders / "groups" / "outer" / "inner", "max", 100, 0)
    group(folders / "groups" / "outer", 5000, 4000, 300)
    assert machine.free_memory().free == 1300


def test_a_container_of_the_first_version_counts_too(folders):
    put(folders / "proc" / "self" / "cgroup", "9:name=systemd:/x\n4:cpu,memory:/job\n0::/\n")
    names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
    group(folders / "groups" / "memory" / "job", 9000, 1000, 20, names)
    group(folders / "groups" / "memory", 9223372036854771712, 5000, 0, names)
    assert machine.free_memory().free == 8020


@pytest.mark.parametrize(("kind", "used", "flag"), [("RLIMIT_AS", "VmSize", "-v"), ("RLIMIT_DATA", "VmData", "-d")])
def test_limits_of_the_process_count_less_what_it_has(folders, monkeypatch, kind, used, flag):
    put(folders / "proc" / "self" / "status", f"Name:\tpython\n{used}:\t 30 kB\n")
    limits = {getattr(resource, kind): 50 * 1024}
    monkeypatch.setattr(resource, "getrlimit", lambda asked: (limits.get(asked, resource.RLIM_INFINITY),) * 2)
    assert machine.free_memory().free == 20 * 1024 and f"ulimit {flag}" in machine.free_memory().name
    put(folders / "proc" / "meminfo", f"MemAvailable: {2**30} kB\n")
    assert f"ulimit {flag}" in machine.too_tight()
    limits.clear()
    assert machine.too_tight() == ""

"""How Ray is started, without starting it: where its files lie, how often it is tried, what its processes are told."""

import os
import tempfile
from pathlib import Path

import pytest

from tandem import program
from tandem.cluster import environment, start
from tandem.core import RunError


@pytest.fixture
def ray(monkeypatch):
    """A stand-in for Ray that counts its ends."""

    class Ray:
        ends = 0

        def shutdown(self):
            self.ends += 1

    monkeypatch.setattr(start, "ray", Ray())
    return start.ray


def test_files_lie_in_a_folder_of_the_users_own_whose_path_is_short(tmp_path, monkeypatch):
    for own in ("/tmp", str(tmp_path / ("a-long-name-" * 8))):
        Path(own).mkdir(exist_ok=True)
        monkeypatch.setattr(tempfile, "tempdir", own)
        with start.private_folder() as folder:
            socket = folder / "r" / "session_2026-11-27_15-57-36_660276_4194304" / "sockets" / "plasma_store"
            assert folder.stat().st_mode & 0o777 == 0o700 and len(str(socket)) <= 107
        assert not folder.exists()


def test_a_machine_without_a_folder_for_temporary_files_is_told_what_to_set(monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", "/not/there")
    with pytest.raises(RunError, match="No such file .*set TMPDIR"), start.private_folder():
        pass


def test_a_slow_machine_has_three_tries_and_then_one_sentence(ray):
    tries = []

    def begin():
        tries.append(len(tries))
        if len(tries) < 3:
            raise TimeoutError("no port after 30 seconds")
        return "started"

    assert start.patiently(begin) == "started" and ray.ends == 2
    tries.clear()
    with pytest.raises(RunError, match="cannot be started on this machine: no port"):
        start.patiently(begin, tries=2)
    assert ray.ends == 4


def test_processes_are_told_where_src_is_and_afterwards_all_is_as_before(monkeypatch, tmp_path):
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "of another cluster")
    before = dict(os.environ)
    for address in ("", "host:1"):
        (tmp_path / (address or "own")).mkdir()
        with environment.variables(start.surroundings(address, tmp_path / (address or "own"))):
            paths = environment.told({"MINE": "1"})["PYTHONPATH"].split(os.pathsep)
            assert paths == [str(program.checkout()), "/somewhere"]  # once, though it was asked for twice
            assert os.environ["RAY_AUTH_MODE"] == "token" and ("RAY_AUTH_TOKEN" in os.environ) == bool(address)
            assert not any("AUTH" in name for name in environment.told({}))  # Ray writes down what it is to tell others
        assert dict(os.environ) == before

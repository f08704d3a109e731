"""Nobody but the run has anything done by the Ray that it starts: not from outside, and not without the run's token."""

import http.client
import os
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from tandem.cluster import authentication, environment
from tandem.cluster.start import cluster, ray
from tests.reference.listening import METHODS, is_loopback, listening, outer_addresses, says

STRANGER = """
import ray
ray.init(address='{}', logging_level=50)
print('IT', ray.get(ray.remote(lambda: 'RAN').remote()))
"""


@ray.remote
class Idle:
    def path(self) -> str:
        return os.environ[authentication.TOKEN_PATH]


@pytest.fixture(scope="module")
def running():
    """Ray as runs and sweeps start it, with an actor: where it can be reached, and the file with its token.

    What the user has set for clusters of his own neither opens it nor gives it another token.
    """
    lax = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "1", "RAY_ADDRESS": "127.0.0.1:9"}
    lax |= {authentication.MODE: "disabled", authentication.TOKEN: "0" * 64}
    with environment.variables(lax), cluster("", {"CPU": 2.0}, 80_000_000, ""):
        actor = Idle.remote()
        path = ray.get(actor.path.remote())
        yield ray.get_runtime_context().gcs_address, Path(path)
        ray.kill(actor)


def everybody() -> list[psutil.Process]:
    return [psutil.Process(), *psutil.Process().children(recursive=True)]


def test_nothing_of_ray_listens_beyond_the_loopback_device(running):
    found = listening(everybody())
    names = " ".join(found.values())
    assert all(word in names for word in ("gcs_server", "raylet", "ray::Idle", "ray::RuntimeEnv"))
    assert {place: name for place, name in found.items() if not is_loopback(place[0])} == {}
    for (_, port), name in found.items():
        for ip in outer_addresses():
            with pytest.raises(ConnectionRefusedError), socket.create_connection((ip, port), 5.0):
                pytest.fail(f"{name} answers at {ip}:{port}")


def web_status(port: int, token: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10.0)
    try:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        connection.request("POST", "/get_or_create_runtime_env", headers=headers)
        return connection.getresponse().status
    finally:
        connection.close()


@pytest.mark.parametrize("token", ["", "0" * 64])
def test_every_server_of_ray_asks_for_the_token(running, token):
    for (_, port), name in listening(everybody()).items():
        if name == "mongod":  # of other tests in this process
            continue
        if name.startswith("ray::RuntimeEnv"):  # speaks HTTP
            assert web_status(port, token) == (403 if token else 401)
            continue
        answers = {says("127.0.0.1", port, method, token) for method in METHODS}
        assert answers == {"UNAUTHENTICATED", "UNIMPLEMENTED"}, name


def test_ray_answers_who_has_the_token_and_from_outside_not_even_him(running):
    place, path = running
    port, alive = int(place.rpartition(":")[2]), METHODS[0]
    assert says("127.0.0.1", port, alive, path.read_text()) == "OK"
    assert {says(ip, port, alive, path.read_text()) for ip in outer_addresses()} <= {"UNAVAILABLE"}


def visit(address: str, **told: str) -> subprocess.CompletedProcess:
    """Have a stranger's process connect with Ray and run something there."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    environment = own | {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_USAGE_STATS_ENABLED": "0"} | told
    command = [sys.executable, "-c", STRANGER.format(address)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)


def test_a_strangers_program_is_refused_and_runs_with_the_token_alone(running, tmp_path):
    place, token = running
    without, wrong = {"RAY_AUTH_MODE": "disabled"}, {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * 64}
    right = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token)}
    with ThreadPoolExecutor() as pool:
        *refused, let_in = pool.map(lambda one: visit(place, **one, HOME=str(tmp_path)), (without, wrong, right))
    assert "IT RAN" in let_in.stdout, let_in.stderr
    for one in refused:
        assert one.returncode != 0 and "IT RAN" not in one.stdout, one
    assert list(tmp_path.iterdir()) == []


def test_the_token_can_be_read_by_its_owner_alone_and_stands_in_no_process_list(running):
    _, path = running
    secret = path.read_text()
    assert len(secret) == 64 and path.stat().st_mode & 0o777 == 0o600 and path.parent.stat().st_mode & 0o777 == 0o700
    (raylet,) = (one for one in everybody() if one.name() == "raylet")
    assert f"--raylet_socket_name={path.parent}/" in " ".join(raylet.cmdline())  # Ray's own folders are open to all
    for process in everybody():
        assert secret not in " ".join(process.cmdline()) and secret not in process.environ().values()
    for file in path.parent.rglob("*"):
        assert file == path or not file.is_file() or secret.encode() not in file.read_bytes()

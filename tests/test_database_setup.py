"""How a user gets a MongoDB: the script without Docker, and the compose file."""

import signal
import subprocess
from pathlib import Path

import pymongo
import pytest
import yaml

from tests.reference.mongod import Mongod, program

ROOT = Path(__file__).parent.parent


def test_the_script_starts_a_server_and_stops_it_when_told(tmp_path):
    port = str(Mongod(tmp_path).port)
    command = [str(ROOT / "scripts" / "mongod.sh"), str(tmp_path / "data"), port]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env={"PATH": "/usr/bin:/bin", "MONGOD": str(program())}
    ) as process:
        lines = [process.stdout.readline() for _ in range(2)]
        url = lines[1].partition("TANDEM_MONGO_URL=")[2].strip()
        with pymongo.MongoClient(url, serverSelectionTimeoutMS=30_000) as client:
            assert client.get_default_database().name == "sacred" and client.admin.command("ping")
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 0
    with pymongo.MongoClient(url, serverSelectionTimeoutMS=200) as client, pytest.raises(pymongo.errors.PyMongoError):
        client.admin.command("ping")


def test_the_script_says_why_a_server_ended(tmp_path):
    (tmp_path / "broken").write_text("#!/bin/sh\necho no space left; exit 14\n")
    (tmp_path / "broken").chmod(0o755)
    command, environ = (
        [str(ROOT / "scripts" / "mongod.sh"), str(tmp_path / "data")],
        {"PATH": "/usr/bin:/bin", "MONGOD": str(tmp_path / "broken")},
    )
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "mongod has ended" in done.stderr and "no space left" in done.stderr


def test_the_compose_file_has_three_services_on_loopback_and_keeps_the_data():
    compose = yaml.safe_load((ROOT / "compose.yaml").read_text())
    assert set(compose["services"]) == {"mongo", "omniboard", "tensorboard"}
    ports = [port for service in compose["services"].values() for port in service["ports"]]
    assert len(ports) == 3 and all(port.startswith("127.0.0.1:") for port in ports)
    named = [volume.partition(":")[0] for volume in compose["services"]["mongo"]["volumes"]]
    assert set(named) == set(compose["volumes"]) and "mongo-data" in named
    pins = (ROOT / "requirements.lock").read_text()
    built = compose["services"]["tensorboard"]["build"]["dockerfile_inline"]
    assert all(f"{pin} " in pins for pin in built.split() if "==" in pin)

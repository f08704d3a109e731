"""How a user gets a MongoDB: the script without Docker, and the compose file."""

import re
import signal
import subprocess
from pathlib import Path

import pymongo
import pytest
import yaml

from tandem.records import mongo_place
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


@pytest.fixture(scope="module")
def compose():
    return yaml.safe_load((ROOT / "compose.yaml").read_text())


def test_the_compose_file_has_three_services_on_loopback_and_keeps_the_data(compose):
    assert set(compose["services"]) == {"mongo", "omniboard", "tensorboard"}
    ports = [port for service in compose["services"].values() for port in service["ports"]]
    assert len(ports) == 3 and all(port.startswith("127.0.0.1:") for port in ports)
    assert not [name for name, service in compose["services"].items() if {"network_mode", "expose"} & set(service)]
    named = [volume.partition(":")[0] for volume in compose["services"]["mongo"]["volumes"]]
    assert set(named) == set(compose["volumes"]) and "mongo-data" in named


def test_the_compose_file_names_the_version_of_everything(compose):
    bases = [service.get("image", "") for service in compose["services"].values()]
    built = [service.get("build", {}).get("dockerfile_inline", "") for service in compose["services"].values()]
    bases += [line.split()[1] for text in built for line in text.splitlines() if line.startswith("FROM")]
    assert all(re.search(r":[\w.-]*\d", base) for base in bases if base) and "latest" not in str(compose)
    installed = [
        word for text in built for word in text.split("install ")[-1].split() if not word.startswith("-") and text
    ]
    pins = (ROOT / "requirements.lock").read_text()
    assert all(f"{pin} " in pins for pin in installed if "==" in pin) and len(installed) == 3
    assert [pin for pin in installed if "==" not in pin] == ["omniboard@2.16.1"]
    assert "Omniboard 2.16.1 from npm" in (ROOT / "docs" / "guides" / "mongodb.md").read_text()


def test_the_database_of_the_compose_file_has_a_password_that_must_be_chosen(compose):
    given = compose["services"]["mongo"]["environment"]
    (asked,) = re.findall(r"^\$\{TANDEM_MONGO_PASSWORD:\?(.+)\}$", given["MONGO_INITDB_ROOT_PASSWORD"])
    assert "is not set; choose a password" in asked
    url = compose["services"]["omniboard"]["environment"]["MONGO_URI"].replace(
        "${TANDEM_MONGO_PASSWORD:?" + asked + "}", "chosen1"
    )
    read = pymongo.uri_parser.parse_uri(url)
    assert (read["username"], read["password"]) == (given["MONGO_INITDB_ROOT_USERNAME"], "chosen1")
    assert (
        read["nodelist"] == [("mongo", 27017)]
        and read["database"] == "sacred"
        and read["options"]["authSource"] == "admin"
    )


def test_the_address_that_the_compose_file_tells_a_user_to_export_is_understood():
    (line,) = [line for line in (ROOT / "compose.yaml").read_text().splitlines() if 'export "TANDEM_MONGO_URL=' in line]
    url = line.partition("URL=")[2].rstrip('"').replace("$TANDEM_MONGO_PASSWORD", "chosen1")
    assert str(mongo_place.parse(url, "-m")) == "127.0.0.1:27017/sacred"

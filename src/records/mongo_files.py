"""Files in MongoDB's GridFS, where Sacred's readers find them, with ids derived from their content.

The driver's own `put` gives every file a new id, so repeating it after a lost answer stores the file twice. Removing
half a file would race with others who store the same source file. Here the id of every document is derived from
its content, so that repeated writes are equal.
"""

import hashlib
import json
import mimetypes
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from bson import ObjectId
from pymongo.database import Database
from pymongo.errors import DuplicateKeyError

from tandem.hiding import hidden, hidden_in

CHUNK = 255 * 1024  # bytes; GridFS's own
TEXTS = (".json", ".patch")  # files in which secrets are hidden; code and videos are stored unchanged


def derived_id(*words: object) -> ObjectId:
    """Return the id that is derived from these words."""
    return ObjectId(hashlib.sha256("\0".join(map(str, words)).encode()).digest()[:12])


class Files:
    """The GridFS of one database; it remembers stored files, so that a repeated request only checks the file."""

    def __init__(self, database: Database, progress: Callable[[], None]):
        self.files, self.chunks = database["fs.files"], database["fs.chunks"]
        self.progress = progress  # called after every chunk
        self.stored: dict[tuple, ObjectId] = {}

    def prepare(self) -> None:
        """Make GridFS's indexes; without effect if they exist."""
        self.files.create_index([("filename", 1), ("uploadDate", 1)])
        self.chunks.create_index([("files_id", 1), ("n", 1)], unique=True)

    def forget(self) -> None:
        """Forget which files are stored, because the server may be another one."""
        self.stored.clear()

    def put(self, path: Path, filename: str) -> ObjectId:
        """Store the file's content under this name if necessary, and return its id."""
        stat = path.stat()
        key = (path, filename, stat.st_mtime_ns, stat.st_size)
        if key not in self.stored:
            with without_secrets(path) as file:
                self.stored[key] = self._put(file, filename)
        return self.stored[key]

    def _put(self, path: Path, filename: str) -> ObjectId:
        digest = md5(path)
        file_id = derived_id("file", filename, digest)
        if self.files.find_one({"_id": file_id}, {"_id": 1}):
            return file_id
        length = 0
        for n, data in enumerate(_blocks(path)):
            length += len(data)
            chunk = {"files_id": file_id, "n": n, "data": data}
            _write(self.chunks, {"_id": derived_id(file_id, n)} | chunk)
            self.progress()
        content_type = mimetypes.guess_type(filename)[0]
        entry = {"filename": filename, "length": length, "chunkSize": CHUNK, "md5": digest, "metadata": None}
        entry |= {"uploadDate": datetime.now(UTC)} | ({"contentType": content_type} if content_type else {})
        _write(self.files, {"_id": file_id} | entry)
        return file_id

    def remove(self, file_id: ObjectId) -> None:
        self.files.delete_one({"_id": file_id})
        self.chunks.delete_many({"files_id": file_id})


def _write(collection, document: dict) -> None:
    try:
        collection.replace_one({"_id": document["_id"]}, document, upsert=True)
    except DuplicateKeyError:  # another process wrote the same document at this moment
        pass


def md5(path: Path) -> str:
    """Return the digest by which Sacred names files."""
    digest = hashlib.md5()
    for data in _blocks(path):
        digest.update(data)
    return digest.hexdigest()


def _blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while data := file.read(CHUNK):
            yield data


@contextmanager
def as_file(path: Path) -> Iterator[Path]:
    """Yield a file itself, or a folder as a tar archive that depends only on its files."""
    if path.is_file():
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="tandem-") as folder:
        archive = Path(folder) / f"{path.name}.tar"
        with tarfile.open(archive, "w") as tar:
            for member in sorted(path.rglob("*")):
                tar.add(member, f"{path.name}/{member.relative_to(path)}", recursive=False)
        yield archive


@contextmanager
def without_secrets(path: Path) -> Iterator[Path]:
    """Yield a file itself, or a copy without the passwords that an earlier version may have stored."""
    text = path.read_text(errors="surrogateescape") if path.suffix in TEXTS else ""
    if hidden(text) == text:
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="tandem-") as folder:
        clean = Path(folder) / path.name
        clean.write_text(_hidden_json(text) if path.suffix == ".json" else hidden(text), errors="surrogateescape")
        yield clean


def _hidden_json(text: str) -> str:
    """Return JSON with secrets hidden in each text, so that it stays JSON; other content is hidden as a whole."""
    try:
        return json.dumps(hidden_in(json.loads(text)), indent=1)
    except ValueError:
        return hidden(text)

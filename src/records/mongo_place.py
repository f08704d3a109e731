"""The MongoDB in which a run is recorded, and its name without credentials."""

import dataclasses
import re
import warnings
from collections.abc import Mapping

import pymongo
from pymongo.database import Database
from pymongo.errors import ConfigurationError, InvalidURI, OperationFailure, PyMongoError

from tandem.hiding import GONE, hidden

VARIABLE = "TANDEM_MONGO_URL"
DEFAULT_DATABASE = "sacred"  # Sacred's and Omniboard's
SECONDS_TO_ANSWER = 3.0  # until a server counts as unreachable
FORMS = "mongodb://USER:PASSWORD@HOST:PORT/DATABASE, HOST:PORT:DATABASE or HOST:PORT"
REFUSED = {
    13: "accepts the login but does not allow writing",
    18: "refuses the user and password (if they belong to another database, add ?authSource=admin)",
}


class Unusable(ValueError):
    """A database cannot be used; `str` is the message for the user, without secrets."""


class Unreachable(Unusable):
    """A server does not answer or refuses the login."""


@dataclasses.dataclass(frozen=True)
class Place:
    """A database, and the source of its name. The URL contains credentials, so only pymongo gets it."""

    url: str = dataclasses.field(repr=False)
    source: str  # "--mongo", "mongo_url" or the environment variable

    def __str__(self) -> str:
        hosts, _, path = hidden(self.url).rpartition("@")[2].rpartition("://")[2].partition("/")
        return f"{hosts}/{path.partition('?')[0] or DEFAULT_DATABASE}"


def choose(flag: str | None, configured: str | None, environ: Mapping[str, str]) -> Place | None:
    """Return where to record, or None: by --mongo, else the configuration's `mongo_url`, else TANDEM_MONGO_URL.

    `mongo_url=''` means nowhere, whatever the variable says. A URL from a record has no credentials, so the variable
    overrides it.

    Raises:
      Unusable: the text names no database.
    """
    variable = environ.get(VARIABLE) or None
    lost = configured is not None and GONE in configured
    if flag:
        return parse(flag, "--mongo")
    if configured is not None and not (lost and variable):
        return parse(configured, "mongo_url") if configured else None
    return parse(variable, VARIABLE) if variable else None


def parse(text: str, source: str) -> Place:
    """Return the place of a MongoDB URL, or of the short form that Sacred accepts.

    Raises:
      Unusable: it is neither.
    """
    if GONE in text:
        raise Unusable(
            f"{source}={hidden(text)}: credentials are not stored with a run; give the whole URL in {VARIABLE} "
            "or with --mongo"
        )
    place = Place(text if "://" in text else _from_sacreds_form(text, source), source)
    try:
        _check_credentials(place.url)
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)  # for an option, of which the message would quote a part
            _client(place).close()
    except (
        InvalidURI,
        ConfigurationError,
        ValueError,
        TypeError,
        UserWarning,
    ) as error:  # their texts may quote part of a password
        raise Unusable(
            f"{source}={hidden(text)}: not a MongoDB URL, or one with an option that is not known or has a wrong value "
            f"({type(error).__name__}); write {FORMS}, with special characters of user, password and options "
            "percent-encoded (@ is %40, : is %3A, / is %2F, & is %26, % is %25)"
        ) from None
    return place


def _check_credentials(url: str) -> None:
    """Raise if there is an @ anywhere but between password and host.

    The driver takes the first / as the end of the hosts. It would read a password with a / as a host, search for it and
    name it in its error.

    Raises:
      ValueError: there is such an @.
    """
    before, *after = re.split("[/?#]", url.partition("://")[2], maxsplit=1)
    if before.count("@") > 1 or "@" in "".join(after):
        raise ValueError("an @ in a password, or after a / in a password")


def _from_sacreds_form(text: str, source: str) -> str:
    """Return the URL of [HOST:PORT:]DATABASE or HOST:PORT, the form of Sacred's flag."""
    match = re.fullmatch(r"(?:([\w.-]+:\d+)(?::(?=.)|$))?([A-Za-z_][\w-]*)?", text)
    if not match or not text:
        raise Unusable(f"{source}={hidden(text)}: names no MongoDB database; write {FORMS}")
    return f"mongodb://{match[1] or 'localhost:27017'}/{match[2] or DEFAULT_DATABASE}"


def connect(place: Place) -> Database:
    """Return the database after a check that it answers and allows writing.

    Raises:
      Unreachable: it does not; this takes a few seconds, and the message gives the reason.
    """
    database = open_lazily(place)
    try:
        database["runs"].find_one({}, {"_id": 1})
        database["runs"].update_one({"_id": {"$in": []}}, {"$set": {"status": ""}})  # no such run: changes nothing
    except PyMongoError as error:
        database.client.close()
        raise Unreachable(f"MongoDB at {place} ({place.source}) {reason(error)}") from None
    return database


def open_lazily(place: Place) -> Database:
    """Return the database without a request to it."""
    return _client(place).get_default_database(DEFAULT_DATABASE)


def _client(place: Place) -> pymongo.MongoClient:
    milliseconds = int(1000 * SECONDS_TO_ANSWER)
    return pymongo.MongoClient(
        place.url,
        connect=False,
        appname="tandem",
        serverSelectionTimeoutMS=milliseconds,
        connectTimeoutMS=milliseconds,
        socketTimeoutMS=20_000,
    )


def reason(error: Exception) -> str:
    """Return the reason of a failed request: "does not answer: ..."."""
    if isinstance(error, OperationFailure):
        return REFUSED.get(error.code or 0, f"refuses: {hidden(str(error.details or error))[:200]}")
    if isinstance(error, PyMongoError):
        return f"does not answer: {hidden(str(error)).partition(' (configured')[0].partition(', Timeout')[0][:200]}"
    return f"cannot take this record: {type(error).__name__}: {hidden(str(error))[:200]}"

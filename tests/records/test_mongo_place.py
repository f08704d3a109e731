"""Which MongoDB is meant, what is said when it cannot be used, and that nobody learns the password."""

import time

import pytest

from tandem.hiding import hidden
from tandem.records import mongo_place
from tandem.records.mongo_place import Unusable, choose, connect, parse
from tests.reference.mongod import SECRET


def test_the_flag_wins_then_the_configuration_then_the_variable():
    environ = {"TANDEM_MONGO_URL": "mongodb://c/db"}
    given = [
        ("a:1:db", "mongodb://b/db", environ),
        (None, "mongodb://b/db", environ),
        (None, None, environ),
        (None, "", environ),
        (None, None, {}),
    ]
    chosen = [choose(*one) for one in given]
    assert [place and str(place) for place in chosen] == ["a:1/db", "b/db", "c/db", None, None]
    assert [place.source for place in chosen if place] == ["--mongo", "mongo_url", "TANDEM_MONGO_URL"]


def test_a_stored_url_without_its_credentials_gives_way_to_the_variable():
    stored = hidden(f"mongodb://me:{SECRET}@b/db")
    assert str(choose(None, stored, {"TANDEM_MONGO_URL": "mongodb://c/db"})) == "c/db"
    with pytest.raises(Unusable, match="credentials are not stored.*TANDEM_MONGO_URL"):
        choose(None, stored, {})


@pytest.mark.parametrize(
    ("text", "url", "shown"),
    [
        ("runs", "mongodb://localhost:27017/runs", "localhost:27017/runs"),
        ("far.example:27018", "mongodb://far.example:27018/sacred", "far.example:27018/sacred"),
        ("far.example:27018:runs", "mongodb://far.example:27018/runs", "far.example:27018/runs"),
        (f"mongodb://me:{SECRET}@far.example/runs?w=1", None, "far.example/runs"),
        (f"mongodb://me:{SECRET}@one:1,two:2/?authSource=admin", None, "one:1,two:2/sacred"),
    ],
)
def test_urls_and_sacreds_form_are_understood(text, url, shown):
    place = parse(text, "-m")
    assert place.url == (url or text) and str(place) == shown
    assert SECRET not in repr(place) + str(place)


@pytest.mark.parametrize(
    "text",
    [
        f"mongodb://me:a:{SECRET}/word@host/db",
        f"mongodb://me:a@{SECRET}@host/db",
        f"mongodb://me:p@{SECRET}#w0rd/x@host/db",
        f"mongodb://me:a/{SECRET}@host/db",
        f"mongodb://me:a?{SECRET}@host",
        f"mongodb+srv://me:{SECRET}/x@host/db",
        f"mongodb://me:a {SECRET}/@host/db",
        f"mongodb://host/db?authMechanismProperties={SECRET}",
        f"mongodb://host/db?authMechanismProperties={SECRET}:x",
        f"mongodb://host/db?tlsCertificateKeyFilePassword=a&{SECRET}",
        f"mongodb://host/db?tlsCertificateKeyFilePassword=a&{SECRET}=b",
        f"mongodb://me:{SECRET}@host:port/db",
        f"me:{SECRET}@host:27017",
        f"mongo://me:{SECRET}@host",
        f"mongodb://me:{SECRET}@",
        f"mongodb://me:{SECRET}@h/***",
        "host:1:db.runs:17",
        "host:1:",
        "a b",
    ],
)
def test_what_cannot_be_read_is_told_without_the_password(text):
    with pytest.raises(Unusable) as error:
        parse(text, "mongo_url")
    assert "mongo_url=" in str(error.value) and SECRET not in str(error.value)


@pytest.mark.parametrize(
    ("user", "options", "words"),
    [
        (f"writer:not{SECRET}", "?authSource=admin", "refuses the user and password"),
        (f"writer:{SECRET}", "", "authSource=admin"),
        ("", "", "accepts the login but does not allow writing"),
    ],
)
def test_a_wrong_password_and_a_missing_one_are_told_at_once(guarded, user, options, words):
    with pytest.raises(Unusable, match=words) as error:
        connect(parse(guarded.url("runs", user, options), "mongo_url"))
    assert f"127.0.0.1:{guarded.port}/runs (mongo_url)" in str(error.value) and SECRET not in str(error.value)


def test_the_right_password_is_taken_and_nothing_is_written(guarded):
    database = connect(parse(guarded.url("runs", f"writer:{SECRET}", "?authSource=admin"), "mongo_url"))
    assert database.list_collection_names() == []
    database.client.close()


@pytest.mark.parametrize("where", ["127.0.0.1:1", "no-such-host.invalid:27017"])
def test_a_server_that_is_not_there_is_told_within_five_seconds(where):
    began = time.monotonic()
    with pytest.raises(Unusable, match=f"MongoDB at {where}/runs .*does not answer"):
        connect(parse(f"mongodb://me:{SECRET}@{where}/runs", "mongo_url"))
    assert time.monotonic() - began < 5


def test_a_server_is_never_named_by_a_piece_of_a_password():
    """The driver takes what stands before the first / for the host, looks for it and names it in its error."""
    for url in ("mongodb://user:p@ss#w0rd/x@host/db", "mongodb://user:p@ss#w0rd/x@host"):
        with pytest.raises(Unusable, match="percent-encoded"):
            parse(url, "-m")
    assert str(parse("mongodb://user:p%40ss%23w0rd%2Fx@host/db", "-m")) == "host/db"


def test_an_error_of_ours_is_not_taken_for_the_servers():
    assert mongo_place.reason(KeyError("status")) == "cannot take this record: KeyError: 'status'"

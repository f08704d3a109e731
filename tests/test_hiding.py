"""No part of a password is left of a text that has been hidden, and nothing else is lost."""

import shlex
import time

import pytest

from tandem.hiding import hidden, hidden_in
from tandem.records.mongo_place import FORMS

PASSWORDS = [
    "s3cr3t",
    "p@s3cr3t",
    "s3cr3t/x",
    "p@s3#s3cr3t/x",
    "a:s3cr3t",
    "s3cr3t?x=1",
    "a s3cr3t",
    "a@b s3cr3t",
    "'s3cr3t'",
    '"s3cr3t"',
    "s3cr3t%40x",
    "%s3cr3t",
    "a=s3cr3t",
    "a&s3cr3t",
    "mongodb://s3cr3t",
    "a://s3cr3t",
    "s3cr3t\\",
    "ü s3cr3t",
    "[s3cr3t]",
    "s3cr3t,b",
    "27017s3cr3t",
]
URLS = [
    "mongodb://me:{}@host/db", "mongodb+srv://me:{}@h.example/?w=1", "MONGODB://me:{}@h:1,k:2/db", "mongodb:/me:{}@h",
]  # fmt: skip
FRAMES = [
    "{}",
    "mongo_url={}",
    "--mongourl={} --other",
    "no key '{}' here; did you mean mongo_url?",
    "cannot read {!r}: x",
    "python src/main.py train -m {} with seed=3",
    "python src/main.py train --mongo={} with seed=3",
    '{{"command": ["-m", "{}"]}}',
    "+mongo_url: {}  # ours",
    "a\n{}\nb",
    "({})",
]


@pytest.mark.parametrize("password", PASSWORDS)
def test_no_part_of_a_password_is_left(password):
    for url in (one.format(password) for one in URLS):
        for text in (*(frame.format(url) for frame in FRAMES), shlex.join(["-m", url])):
            shown = hidden(text)
            assert "s3cr3t" not in shown and "me:" not in shown and hidden(shown) == shown, text


@pytest.mark.parametrize(
    "url",
    [
        "mongo://me:s3cr3t@host",
        "postgresql://me:s3cr3t/x@host/db",
        "https://s3cr3t@github.com/a/b.git",
        "me:s3cr3t@host:27017",
        "me:a/s3cr3t@host",
        "mongodb://me:s3cr3t",
        "mongodb://me:s3cr3t... ",
        "mongodb%3A%2F%2Fme%3As3cr3t%40host%2Fdb",
        "mongodb:me:s3cr3t@host",
        "mongodb://host/db?tlsCertificateKeyFilePassword=s3cr3t",
        "mongodb://h/?TLSCERTIFICATEKEYFILEPASSWORD=a b&s3cr3t",
        "mongodb://host/?w=1&authMechanismProperties=AWS_SESSION_TOKEN:s3cr3t&x=s3cr3t",
        "mongodb://h/?proxyPassword=s3cr3t",
        "mongodb://me:s3@h/db?authMechanismProperties=T:s3cr3t",
    ],
)
def test_no_part_of_a_secret_is_left_of_other_addresses(url):
    assert [text for text in (frame.format(url) for frame in FRAMES) if "s3cr3t" in hidden(text)] == []


@pytest.mark.parametrize(
    "text",
    [
        f"-m={'***'}: write {FORMS}, with special characters percent-encoded (@ is %40, : is %3A)",
        "give its URL with --mongo=mongodb://HOST:PORT/DATABASE or in the environment variable TANDEM_MONGO_URL",
        "--mongo=mongodb://HOST:PORT/DATABASE or --mongo=HOST:PORT:DATABASE",
        "see https://example.org/a, or write to a@b, or https://example.org/@name/x",
        "MongoDB at 127.0.0.1:27017/runs (mongo_url) does not answer: 127.0.0.1:27017: [Errno 111] Connection refused",
        "mongodb://127.0.0.1:27017/sacred and mongodb://[::1]:27017/x and mongodb://one:1,two:2/?authSource=admin&w=1",
        "    x = x[1:] @ y  # git@github.com; @decorator; {a: b}@",
        "at 12:30:01 key 'learner_args.lr': a.yaml:3: expected a number, got 'x'",
    ],
)
def test_what_is_no_secret_stays(text):
    assert hidden(text) == text


def test_only_the_secret_of_a_message_goes():
    said = "no key 'a=mongodb://me:x@s3cr3t@host/db' here; write mongodb://USER:PASSWORD@HOST:PORT/DATABASE (@ is %40)"
    assert (
        hidden(said)
        == "no key 'a=mongodb://***@host/db' here; write mongodb://USER:PASSWORD@HOST:PORT/DATABASE (@ is %40)"
    )


@pytest.mark.parametrize(
    "piece", ["step 3: value=4.5 a:b x?y=z; (c) ", '{"a":1,"b":["x:y"]},', "mongodb://h:1,", "x://", "a@b;"]
)
def test_the_time_it_takes_grows_with_the_text_and_not_with_its_square(piece):
    text = piece * (200_000 // len(piece)) + " mongodb://me:s3cr3t@h"
    began = time.process_time()
    assert "s3cr3t" not in hidden(text) and time.process_time() - began < 20  # with the square: minutes


def test_values_are_hidden_wherever_they_stand():
    value = {"a": ["mongodb://u:s3cr3t@h", 3, None], "b": ({"c": "mongodb://u:s3cr3t@h"},), "d": 1.5}
    assert hidden_in(value) == {"a": ["mongodb://***@h", 3, None], "b": [{"c": "mongodb://***@h"}], "d": 1.5}

"""Single values, and YAML files, which mean what the command line means."""

import pytest

from tandem.config import values, yaml_files


TEXTS = [
    "9" * 5000,
    "(" * 300,
    "-" * 100_000 + "1",
    "{[]: 1}",
    "1+2j",
    "b'a'",
    "{1, 2}",
    "...",
    "1is",
    "'\\d",
    "²",
    "012",
    "",
]
READ_BACK = ["2e5", "true", "[1]", "'q'", "plain", "it's", "", 3, 1e-07, None, True, [1, "a"], {"a": [1.5]}]


@pytest.mark.parametrize("text", TEXTS)
def test_what_is_no_plain_value_is_text(text):
    assert values.typed(text) == text


@pytest.mark.parametrize("value", READ_BACK)
def test_a_value_is_written_so_that_it_is_read_back(value):
    assert values.typed(values.written(value)) == value and type(values.typed(values.written(value))) is type(value)


@pytest.mark.parametrize("value", ["x" * 10_000, 10**5000, list(range(10_000))], ids=("text", "number", "list"))
def test_a_message_shows_no_more_of_a_value_than_fits_a_line(value):
    assert len(values.shown(value)) < 120 and "\n" not in values.shown("a\nb")


def test_a_home_folder_is_looked_up_once_and_for_all(monkeypatch):
    monkeypatch.setenv("HOME", "/somewhere")
    assert values.expanded("~/x") == "/somewhere/x" and values.expanded("a/~") == "a/~"
    with pytest.raises(ValueError, match="there is no home folder ~nobody.at.all"):
        values.expanded("~nobody.at.all/x")


@pytest.fixture
def read(tmp_path):
    def read(text):
        path = tmp_path / "a.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return yaml_files.read(path)

    return read


@pytest.mark.parametrize(
    "text, value",
    [
        ("012", "012"), ("0x10", "0x10"), ("1:30", "1:30"), ("yes", "yes"), ("off", "off"), ("2024-01-01",
        "2024-01-01"), ("1_", "1_"), ("=", "="),
        ("1_000", 1000), ("3e-4", 3e-4), ("1e5", 1e5), ("5.", 5.0), (".5", 0.5), ("-7", -7), ("0", 0),
        (".inf", float("inf")),
        ("true", True), ("None", None), ("~", None), ("", None), ("'012'", "012"), ("9" * 5000, "9" * 5000),
    ],
)  # fmt: skip
def test_plain_values_of_a_file_are_decimal_numbers_true_false_null_or_text(read, text, value):
    found = read(f"a: {text}\n")["a"]
    assert found == value and type(found) is type(value)


@pytest.mark.parametrize(
    "text, said",
    [
        ("a: 1\nb: 2\na: 3\n", "line 3: 'a' is written twice, first in line 1"),
        ("s:\n  x: 1\n  x: 2\n", "line 3: 'x' is written twice"),
        ("{a: 1, 'a': 2}", "written twice"),
        ("s: {x: 1}\ns: {y: 1}\n", "'s' is written twice"),
        (b"a: \xe9\n", "not UTF-8 text (byte 4)"),
        (b"\xff\xfea\x00", "not UTF-8"),
        ("a: &a [*a]\n", "levels"),
        ("a: !!set {x}\n", "cannot be read"),
        ("a: !!bool perhaps\n", "not valid YAML"),
        ("a: !!timestamp soon\n", "not valid YAML"),
        ("a: [\n", "not valid YAML"),
        ("a: " + "[" * 5000, "nested too deeply"),
        ("#" * 1_000_001, "larger than 1,000,000 bytes"),
    ],
)
def test_a_file_that_cannot_be_used_is_told_of_in_a_sentence(read, text, said):
    with pytest.raises(yaml_files.Unreadable) as caught:
        read(text)
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_a_few_anchors_that_stand_for_billions_of_values_are_refused_at_once(read):
    names = "abcdefghij"
    lines = ["a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [
        f"{one}: &{one} [{', '.join([f'*{before}'] * 10)}]" for before, one in zip(names, names[1:], strict=False)
    ]
    with pytest.raises(yaml_files.Unreadable, match="100,000 values"):
        read("\n".join(lines))


def test_what_is_merged_in_is_not_taken_for_a_repeated_key(read):
    assert read("x: &x {p: 1, q: 2}\ny:\n  <<: *x\n  p: 3\n")["y"] == {"p": 3, "q": 2}


def test_a_dumped_file_is_read_back(read):
    texts = {text: text for text in ("1e5", "012", "yes", "None", "1:30", "", "жар", "null", "~")}
    content = texts | {"e": 1e-07, "f": None, "g": [1, "2", True]}
    assert read(yaml_files.dump(content)) == content

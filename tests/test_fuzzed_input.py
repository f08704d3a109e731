"""Command lines and files from a generator that knows what must become of each: taken, or refused with 2 and a reason.

A few hundred of them by default; TANDEM_FUZZ=1000 tries the first thousand. A case is made from its number alone, so
that the number in a failed test's name is all that is needed to see it again.
"""

import os
from pathlib import Path

import jax
import pytest

from tandem import main
from tandem.analysis import full_report
from tandem.commands import preparing
from tandem.experiments import batch, tuning
from tests.reference import command_lines

CASES = int(os.environ.get("TANDEM_FUZZ", "300"))
LONGEST_MESSAGE = 20_000


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    """Return a folder in which lines run without training, comparing or Ray, and what they were configured with."""
    seen: list[dict] = []
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("TANDEM_MONGO_URL", raising=False)
    monkeypatch.delenv("JOBS", raising=False)
    configure = preparing.configuration
    monkeypatch.setattr(preparing, "configuration", lambda request: seen.append(found := configure(request)) or found)
    monkeypatch.setattr(main, "_has_commit", lambda: False)  # asking git is slow
    monkeypatch.setattr(main, "run_command", lambda experiment, command, options: 0)
    monkeypatch.setattr(batch.Drive, "run", lambda drive: 0)
    monkeypatch.setattr(tuning, "drive", lambda *given: 0)
    monkeypatch.setattr(full_report, "report", lambda *given: None)
    cache = jax.config.jax_compilation_cache_dir
    yield folder, seen
    jax.config.update("jax_compilation_cache_dir", cache)


def contents(folder: Path) -> dict[str, bytes | None]:
    """Return what is in a folder and beside it; a home folder, where libraries keep their own things,
    is passed over.
    """
    paths = [path for path in folder.parent.rglob("*") if "home" not in path.relative_to(folder.parent).parts]
    return {str(path): path.read_bytes() if path.is_file() else None for path in paths}


def flat(config: dict) -> dict[str, object]:
    """Return a configuration's settings by their dotted keys, those of its sections too."""
    sections = {key: value for key, value in config.items() if isinstance(value, dict)}
    return config | {f"{key}.{name}": item for key, section in sections.items() for name, item in section.items()}


def run(words: tuple[str, ...]) -> int:
    try:
        return main.main(words)
    except SystemExit as error:  # argparse, after --help
        return error.code or 0


@pytest.mark.parametrize("number", range(CASES))
def test_a_line_is_taken_or_refused_as_it_should_be(number, workplace, capsys):
    folder, seen = workplace
    case = command_lines.make(number)
    for name, content in (command_lines.THERE | dict(case.files)).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    before = contents(folder)
    status = run(case.words)
    out, said = capsys.readouterr()
    assert status == case.status, (case, said)
    assert contents(folder) == before, case  # nothing is written or made
    if case.status == command_lines.REFUSED:
        assert out == "" and said and "Traceback" not in said and len(said) < LONGEST_MESSAGE, (case, said)
        assert all(word in said for word in case.named), (case, said)
        assert all(letter.isprintable() or letter == "\n" for letter in said), (case, said)
    elif case.meant:
        found = flat(seen[-1][0])
        assert {key: found[key] for key in case.meant} == case.meant, case


def test_every_kind_of_line_is_both_taken_and_refused():
    cases = [command_lines.make(number) for number in range(400)]
    share = sum(case.status == command_lines.OK for case in cases) / len(cases)
    assert 0.2 < share < 0.8
    assert len({case.words for case in cases}) > 300

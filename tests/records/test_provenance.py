"""Where a run comes from: the code that git does not know yet, and what a record may say."""

import json
import subprocess

import pytest

from tandem import program
from tandem.records import runs
from tandem.records import provenance
from tandem.records.runs import RecordError
from tests.commands import stub_runs


def git(folder, *words: str) -> str:
    who = ["-c", "user.name=a", "-c", "user.email=a@b"]
    return subprocess.run(["git", "-C", str(folder), *who, *words], check=True, capture_output=True, text=True).stdout


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """Return a git repository with one commit that provenance takes for its own."""
    folder = tmp_path / "tree"
    (folder / "src" / "planners").mkdir(parents=True)
    (folder / "src" / "known.py").write_text("one = 1\n")
    (folder / ".gitignore").write_text("*.log\n")
    git(folder, "init", "-q")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "first")
    monkeypatch.setattr(program, "checkout", lambda: folder)
    return folder


def test_sources_that_git_does_not_know_are_stored_with_a_run(tree, tmp_path):
    (tree / "src" / "planners" / "new [v1].py").write_text("def plan():\n    return 'a plan of mine'\n")
    (tree / "src" / "known.py").write_text("one = 2\n")
    found = provenance.difference()
    assert "+    return 'a plan of mine'" in found and "+one = 2" in found
    git(tmp_path, "clone", "-q", str(tree), "copy")
    (tmp_path / "diff.patch").write_text(found)
    git(tmp_path / "copy", "apply", str(tmp_path / "diff.patch"))
    for name in ("src/planners/new [v1].py", "src/known.py"):
        assert (tmp_path / "copy" / name).read_text() == (tree / name).read_text()


def test_looking_at_the_sources_leaves_gits_index_as_it_is(tree):
    (tree / "src" / "new.py").write_text("two = 2\n")
    before = git(tree, "status", "--porcelain")
    provenance.difference()
    assert git(tree, "status", "--porcelain") == before == "?? src/new.py\n"


def test_what_is_ignored_large_or_no_source_stays_where_it_is(tree, monkeypatch):
    monkeypatch.setattr(provenance, "LARGEST_SOURCE", 100)
    monkeypatch.setattr(provenance, "ALL_SOURCES", 150)
    (tree / "notes.py").write_text("outside src")
    (tree / "src" / "out.log").write_text("ignored")
    (tree / "src" / "large.py").write_text("# large" * 20)
    (tree / "src" / "away.py").symlink_to("/etc/hosts")
    (tree / "src" / "a.py").write_text("# first" + " " * 80)
    (tree / "src" / "b.py").write_text("# second" + " " * 80)
    assert "# first" in (found := provenance.difference())
    assert not any(words in found for words in ("outside", "ignored", "large", "away", "second"))


def test_a_run_repeated_with_another_new_file_is_told_so(tree):
    config = {"seed": 3}
    before, diff_before = provenance.collect(config)
    assert provenance.changes(before, diff_before, *provenance.collect(config)) == []
    (tree / "src" / "new.py").write_text("two = 2\n")
    assert "uncommitted changes" in provenance.changes(before, diff_before, *provenance.collect(config))[0]
    before, diff_before = provenance.collect(config)
    (tree / "src" / "new.py").write_text("two = 3\n")
    assert "uncommitted changes" in provenance.changes(before, diff_before, *provenance.collect(config))[0]


def test_without_git_there_is_no_difference(tmp_path, monkeypatch):
    monkeypatch.setattr(program, "checkout", lambda: tmp_path)
    assert provenance.difference() == ""


def test_a_repository_around_an_installed_tandem_is_not_taken_for_its_own(tree, monkeypatch):
    (tree / "src" / "new.py").write_text("two = 2\n")
    assert provenance.difference() and provenance.git("rev-parse", "HEAD")
    monkeypatch.setattr(program, "checkout", lambda: None)
    facts, diff = provenance.collect({"seed": 3})
    assert diff == "" and facts["git"] == {"commit": "", "branch": "", "changed": False, "untracked": []}


@pytest.fixture
def run(tmp_path):
    """Return a function that writes a run whose provenance.json holds something, and finds it."""
    folder = stub_runs.write(tmp_path, 1, [0.0])

    def run(facts):
        (folder / provenance.NAME).write_text(json.dumps(facts))
        return runs.find("1", tmp_path)

    return run


@pytest.mark.parametrize(
    "named",
    [
        "/etc/x",
        "../x",
        "tb_logs/../../x",
        "tb_logs/../sacred",
        "sacred/1",
        "tb_logs",
        "tb_logs//etc",
        5,
        ["x"],
        "tb_logs/away/x",
    ],
)
def test_curves_that_do_not_lie_among_the_curves_of_runs_are_refused(run, tmp_path, named):
    (tmp_path / "tb_logs").mkdir()
    (tmp_path / "tb_logs" / "away").symlink_to("/tmp")
    with pytest.raises(RecordError, match="leads out of .*tb_logs"):
        provenance.curves(run({"curves": named}))


def test_curves_are_found_where_the_record_says(run, tmp_path):
    assert provenance.curves(run({"curves": "tb_logs/mpe/1-run1"})) == "tb_logs/mpe/1-run1"
    assert provenance.curves(run({})) is None and provenance.curves(run([])) is None


@pytest.mark.parametrize("key", ["git", "machine", "packages", "devices", "command", "python"])
@pytest.mark.parametrize("value", [None, 5, "x", [], [5], {}, {"commit": 5}])
def test_provenance_of_another_form_counts_as_none(run, key, value):
    facts, _ = provenance.collect({"seed": 3})
    assert provenance.read(run(facts).folder) == json.loads(json.dumps(facts))
    if (key, value) in [("packages", {}), ("python", "x"), ("command", [])]:
        return  # these have the right form
    assert provenance.read(run(facts | {key: value}).folder) == {}

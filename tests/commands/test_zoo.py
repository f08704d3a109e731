"""The zoo: an entry made of a recorded run, played as a run is; and the entries that come with the code."""

import json
import shutil

import numpy as np
import pytest

from tandem import main, restored
from tandem.records import runs, zoo
from tandem.records.checkpoint_folder import read_meta
from tests.test_main import ROOT, TINY, type_in

PLAYED = "eval_args.episodes=29"
ENTRIES = zoo.entries(ROOT / zoo.ZOO)
pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a run and an entry that is made of it."""
    folder = tmp_path_factory.mktemp("house")
    trained = type_in(folder, *TINY, "t_max=480", "max_minutes=0", "seed=3", "eval_args.every=240", "video=False")
    assert trained.returncode == 0, trained.stderr
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        (folder / "zoo").mkdir()
        assert main.main(["zoo", "--run=1", "--name=climbing", "--checkpoint=last", "with", PLAYED]) == 0
    shutil.rmtree(folder / "results")  # an entry needs nothing of the run
    return folder


@pytest.fixture
def typed(folder, monkeypatch, capsys):
    """Return a function that runs a command line in this process and returns (status, stdout, stderr)."""
    monkeypatch.chdir(folder)

    def typed(*words):
        return main.main(words), *capsys.readouterr()

    return typed


def test_the_card_says_where_an_entry_comes_from_and_not_whose_machine_it_was(folder):
    card = json.loads((folder / "zoo/climbing/card.json").read_text())
    assert (card["task"], card["algorithm"], card["seed"], card["step"]) == (
        "matrix_game/climbing", "mazero_seq", 3, 480,
    )  # fmt: skip
    assert card["trained"]["steps"] == 480 and card["trained"]["minutes"] >= 0 and card["episodes"] == 29
    command = card["command"]
    assert command.startswith("python src/main.py --config=mazero_seq --env-config=matrix_game with ")
    assert command.endswith("t_max=480 max_minutes=0 seed=3 eval_args.every=240")  # and not where it was recorded
    assert set(card["scores"]) == {"search", "autoregressive", "policy"} and card["machine"]["cores"] >= 1
    for path in (folder / "zoo").rglob("*"):
        if path.suffix in (".json", ".md"):
            assert str(folder) not in path.read_text()
    page = (folder / "zoo/climbing/README.md").read_text()
    assert command in page and card["commit"] in page and f"{card['scores']['search']['return']['mean']:.3f}" in page
    assert (
        "| [climbing](climbing/README.md) | matrix_game/climbing | 2 | mazero_seq |"
        in (folder / "zoo/README.md").read_text()
    )


def test_an_entry_is_evaluated_to_the_scores_of_its_card(folder, typed):
    status, out, _ = typed("evaluate", "--run=zoo/climbing", "with", PLAYED)
    assert status == 0 and "return, with search" in out
    (path,) = (folder / "results" / "zoo" / "climbing").glob("evaluation-480-*.json")
    found, card = json.loads(path.read_text()), json.loads((folder / "zoo/climbing/card.json").read_text())
    assert {player: found[player] for player in card["scores"]} == card["scores"]
    assert sorted(path.name for path in (folder / "zoo/climbing").iterdir()) == [
        "README.md", "card.json", "config.json", "models",
    ]  # fmt: skip


@pytest.mark.filterwarnings("ignore:os.fork:RuntimeWarning")  # ffmpeg, beside JAX
def test_an_entry_is_filmed_and_its_page_shows_policies_and_values(folder, typed):
    status, out, _ = typed("render", "--run=zoo/climbing", "--episodes=2", "--page")
    place = folder / "results" / "zoo" / "climbing" / "episodes-480-search"
    assert status == 0 and all(f"{place.name}.{ending}" in out for ending in ("html", "mp4", "gif"))
    text = place.with_suffix(".html").read_text()
    data = json.loads(text.split('type="application/json">')[1].split("</script>")[0])
    assert len(data["episodes"]) == 2 and data["searches"] and len(data["agents"]) == 2
    for episode in data["episodes"]:
        length = len(episode["action"])
        for name in ("policy", "network"):
            assert len(episode[name]) == length
            assert sum(episode[name][0][1]) == pytest.approx(1.0, abs=1e-3)
        assert len(episode["searchValue"]) == len(episode["value"]) == len(episode["toGo"]) == length


def test_the_zoo_lists_its_entries(typed):
    for words in (["zoo"], ["list", "zoo"]):
        status, out, _ = typed(*words)
        assert status == 0 and "zoo/climbing" in out and "mazero_seq" in out and "kB" in out
    status, out, _ = typed("show", "--run=zoo/climbing")
    assert status == 0 and "commit" in out and "search, mean" in out and "num_simulations: 2" in out


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["evaluate", "--run=zoo/climbin"], "did you mean zoo/climbing?"),
        (["train", "--resume=zoo/climbing"], "rerun --run=zoo/climbing"),
        (["upload", "--run=zoo/climbing", "--mongo=localhost:1"], "no record to upload"),
        (["zoo", "--run=zoo/climbing", "--name=other"], "an entry already"),
        (["zoo", "--run=7"], "--name=NAME"),
        (["zoo", "--run=7", "--name=new"], "no run '7'"),
        (["zoo", "--run=7", "--name=climbing"], "--replace"),
        (["zoo", "--run=7", "--name=../x"], "--name=../x: expected small letters"),
        (["zoo", "--name=new"], "--name belongs to a new entry"),
        (["zoo", "--nam=new"], "did you mean --name?"),
        (["zoo", "--folder=nowhere"], "no entries in nowhere"),
        (["zo"], "did you mean 'zoo'?"),
    ],
)
def test_what_cannot_be_done_is_told_in_one_message(typed, words, expected):
    status, _, err = typed(*words)
    assert status == 2 and expected in err and len(err.strip().splitlines()) == 1


def test_an_entry_that_is_too_large_is_not_written(folder, tmp_path, monkeypatch):
    meta = read_meta(folder / "zoo" / "climbing" / "models" / "480")
    monkeypatch.setattr(zoo, "MOST_BYTES", 1000)
    with pytest.raises(ValueError, match="an entry may have 1,000"):
        zoo.write(tmp_path / "large", {}, {}, {"a": np.random.default_rng(0).standard_normal(5000)}, meta)
    assert not list(tmp_path.iterdir())


def test_a_damaged_entry_is_refused(folder, typed, tmp_path, monkeypatch):
    shutil.copytree(folder / "zoo", tmp_path / "zoo")
    monkeypatch.chdir(tmp_path)
    (arrays,) = (tmp_path / "zoo").rglob("arrays.npz")
    content = bytearray(arrays.read_bytes())
    content[len(content) // 2] ^= 255
    arrays.write_bytes(content)
    status, _, err = typed("evaluate", "--run=zoo/climbing")
    assert status == 2 and "is damaged" in err


@pytest.mark.jaxmarl
@pytest.mark.parametrize("entry", ENTRIES, ids=lambda path: path.name)
def test_the_entries_that_come_with_the_code_fit_it(entry):
    """If this fails, the code's parameters have changed: `python scripts/remake_zoo.py NAME` trains the entry anew."""
    run = runs.find(str(entry))
    found = restored.restore(run, "best")
    card = json.loads((entry / "card.json").read_text())
    assert card["agents"] == found.env.spec.num_agents
    assert set(card["scores"]) == set(found.players) and found.step == card["step"]
    assert sum(path.stat().st_size for path in entry.rglob("*") if path.is_file()) < zoo.MOST_BYTES
    network = found.network()
    assert network.state.params and network.model is not None
    assert not card["changed"], "made of code that was not committed"

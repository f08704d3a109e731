"""What checkpoints promise: whole or not there, the same to the bit, and a clear word where something is wrong."""

import contextlib
import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import struct

from tandem.records import checkpoint, checkpoint_folder
from tandem.records.checkpoint_folder import CheckpointError, Meta

ROOT = Path(__file__).parents[2]


@struct.dataclass
class State:
    learner: dict
    key: jax.Array
    count: jax.Array


def make_state(seed: int = 1) -> State:
    keys = jax.random.split(jax.random.key(seed), 4)
    params = {"Dense_0": {"kernel": jax.random.normal(keys[0], (3, 5)), "bias": jnp.full(5, jnp.nan)}}
    opt = optax.adam(1e-3).init(params)
    return State(learner={"params": params, "opt": opt, "mask": jnp.array([True, False])}, key=keys, count=jnp.int32(7))


def save(path: Path, state, step: int | None = None, **said) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays, keys = checkpoint.split(state)
    meta = Meta(step=int(path.name), update=2, **{"score": None, "config": {}, **said}, keys=keys)
    checkpoint.write(path, jax.tree.map(np.array, arrays), meta)


def bits(tree) -> list:
    plain = jax.tree.map(lambda x: jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x, tree)
    return [(leaf.dtype, leaf.shape, np.asarray(leaf).tobytes()) for leaf in jax.tree.leaves(plain)]


@pytest.fixture(scope="module")
def shapes():
    return jax.eval_shape(make_state)


@pytest.fixture
def saved(tmp_path):
    """Return a folder with one checkpoint, of step 30."""
    save(tmp_path / "30", make_state())
    return tmp_path / "30"


def test_a_state_comes_back_the_same_to_the_bit(saved, shapes):
    state = checkpoint.read(saved, shapes)
    assert bits(state) == bits(make_state()) and jax.tree.structure(state) == jax.tree.structure(make_state())
    assert state.key.dtype == make_state().key.dtype
    assert bits(state) != bits(make_state(2))


def test_a_part_of_a_state_is_read_alone(saved, shapes):
    params = checkpoint.read(saved, shapes.learner["params"], under="learner.params")
    assert bits(params) == bits(make_state().learner["params"])


def test_any_file_that_is_cut_off_or_missing_is_found_out(saved, shapes):
    files = [path for path in saved.rglob("*") if path.is_file()]
    assert len(files) > 3
    for path in files:
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2])
        with pytest.raises(CheckpointError, match="damaged") as error:
            checkpoint.read(saved, shapes)
        assert path.name in str(error.value) and "\n" not in str(error.value)
        path.unlink()
        with pytest.raises(CheckpointError, match="damaged"):
            checkpoint.read(saved, shapes)
        path.write_bytes(content)
    checkpoint.read(saved, shapes)


def test_an_altered_sum_is_found_out_and_other_checkpoints_are_named(saved, shapes):
    save(saved.parent / "60", make_state())
    meta = saved / "meta.json"
    meta.write_text(meta.read_text().replace('"count": ', '"count": 1'))
    with pytest.raises(CheckpointError, match="count is not what was written.*--checkpoint=60"):
        checkpoint.read(saved, shapes)


def test_a_state_of_another_shape_is_refused(saved, shapes):
    wider = shapes.replace(count=jax.ShapeDtypeStruct((2,), jnp.int32))
    with pytest.raises(CheckpointError, match=r"count is int32\[\] there, int32\[2\] by this configuration"):
        checkpoint.read(saved, wider)
    with pytest.raises(CheckpointError, match="learner.extra: the checkpoint has none"):
        checkpoint.read(saved, shapes.replace(learner=shapes.learner | {"extra": shapes.count}))


def test_the_last_the_best_and_any_step_can_be_picked(tmp_path):
    for step, score in ((30, 5.0), (60, 8.0), (90, 8.0), (120, None)):
        save(tmp_path / str(step), {"a": jnp.zeros(3)}, score=score)
    picked = [checkpoint_folder.pick(tmp_path, which).name for which in ("last", "best", "30")]
    assert picked == ["120", "90", "30"]
    with pytest.raises(CheckpointError, match="choose best, last or one of 30, 60, 90, 120"):
        checkpoint_folder.pick(tmp_path, "31")
    with pytest.raises(CheckpointError, match="there is no checkpoint in .*nowhere"):
        checkpoint_folder.pick(tmp_path / "nowhere")


WRITE_FOR_EVER = """
import sys
from pathlib import Path
import numpy as np
from tandem.records import checkpoint, checkpoint_folder
from tandem.core import Report
from tandem.records.saver import Saver
models = Path(sys.argv[1])
settings = {"keep_last": 2, "keep_every_steps": 0, "keep_best": False, "every_minutes": 0, "every_steps": 1}
saver = Saver(models, settings, {}, lambda step: None)
saver.start_at(max(checkpoint_folder.steps(models), default=0))
step = saver.last_step
while True:
    step += 1
    saver.save(Report(step, step, {}), {"big": np.full((40, 5000), step), "small": np.full(3, step)})
    print(step, flush=True)
"""


def test_a_process_killed_at_any_moment_leaves_whole_checkpoints(tmp_path):
    lots = random.Random(5)
    like = {"big": jax.ShapeDtypeStruct((40, 5000), np.int32), "small": jax.ShapeDtypeStruct((3,), np.int32)}
    newest = 0
    for _ in range(4):
        command = [sys.executable, "-c", WRITE_FOR_EVER, str(tmp_path)]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
            told = [int(process.stdout.readline()) for _ in range(3)]  # of these the first two are surely written
            time.sleep(lots.uniform(0.0, 0.1))
            process.send_signal(signal.SIGKILL)
        there = checkpoint_folder.steps(tmp_path)
        assert newest < told[1] <= there[-1] and len(there) <= 3, (told, there)
        for step in there:
            state = checkpoint.read(tmp_path / str(step), like)
            assert (state["big"] == step).all() and (state["small"] == step).all()
        newest = there[-1]
    checkpoint_folder.tidy(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(str(step) for step in there)


def test_configurations_are_told_apart_by_the_settings_that_differ():
    one = {"seed": 1, "learner_args": {"unroll": 3, "n_step": 5}, "gone": None}
    other = {"seed": 1, "learner_args": {"unroll": 2, "n_step": 5}, "new": 2}
    assert checkpoint.differences(one, other) == ["learner_args.unroll", "new"]
    assert checkpoint.differences(one, one) == []


@pytest.mark.parametrize("name", ["results [v1]", "a\\b", "*", "wh?", "{a,b}", "new\nline", "~", "%20 #1", "ä"])
def test_a_checkpoint_comes_back_from_a_folder_of_any_name(tmp_path, shapes, name):
    path = tmp_path / name / "models" / "30"
    save(path, make_state())
    assert bits(checkpoint.read(path, shapes)) == bits(make_state())
    assert [path.name for path in tmp_path.iterdir()] == [name]  # a backslash once led to another folder


def test_checkpoints_of_the_same_step_in_two_folders_are_not_taken_for_each_other(tmp_path, shapes):
    paths = [tmp_path / name / "30" for name in ("[a]", "[b]")]
    for seed, path in enumerate(paths):
        save(path, make_state(seed))
    assert [bits(checkpoint.read(path, shapes)) for path in paths] == [bits(make_state(seed)) for seed in (0, 1)]


# orbax, failing, leaves reads behind that answer a loop which has ended.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_what_was_written_and_cannot_be_read_is_no_checkpoint(tmp_path, monkeypatch):
    @contextlib.contextmanager
    def as_it_is(folder):
        yield folder.absolute()

    save(tmp_path / "[v1]" / "30", make_state(1))
    monkeypatch.setattr(checkpoint, "plainly_named", as_it_is)  # orbax then leaves the arrays unmerged
    for step in ("30", "60"):
        with pytest.raises(CheckpointError, match=f"{step} is damaged"):
            save(tmp_path / "[v1]" / step, make_state(2))
    monkeypatch.undo()
    assert checkpoint_folder.steps(tmp_path / "[v1]") == [30]
    checkpoint.read(tmp_path / "[v1]" / "30", jax.eval_shape(make_state))


def test_an_array_that_comes_back_altered_is_found_out_when_it_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "_restored", lambda path, names: {name: np.zeros(3) for name in names})
    with pytest.raises(CheckpointError, match="does not hold what was written: count came back altered"):
        checkpoint.write(tmp_path / "30", {"count": np.arange(3)}, Meta(30, 2, None, {}, {}))
    assert checkpoint_folder.steps(tmp_path) == []


def test_only_so_much_is_read_back_as_memory_has_room_for(tmp_path, monkeypatch):
    read = []
    monkeypatch.setattr(checkpoint, "BYTES_READ_BACK", 100)
    monkeypatch.setattr(
        checkpoint, "_restored", lambda path, names: read.extend(names) or {name: sizes[name] for name in names}
    )
    sizes = {"large": np.arange(50), "small": np.arange(5), "middle": np.arange(7)}
    checkpoint.write(tmp_path / "30", sizes, Meta(30, 2, None, {}, {}))
    assert read == ["small", "middle"]


@pytest.mark.parametrize("killed_at", [1, 2])
def test_of_a_checkpoint_that_takes_anothers_place_one_is_there_at_any_moment(saved, shapes, monkeypatch, killed_at):
    rename, count = Path.rename, 0

    def killed(self, target):
        nonlocal count
        count += self.parent == saved.parent
        if count == killed_at and self.parent == saved.parent:
            raise KeyboardInterrupt
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", killed)
    with pytest.raises(KeyboardInterrupt):
        save(saved, make_state(2))
    monkeypatch.undo()
    checkpoint_folder.tidy(saved.parent)
    assert [path.name for path in saved.parent.iterdir()] == ["30"]
    assert bits(checkpoint.read(saved, shapes)) == bits(make_state(1))
    save(saved, make_state(2))
    assert [path.name for path in saved.parent.iterdir()] == ["30"]
    assert bits(checkpoint.read(saved, shapes)) == bits(make_state(2))


@pytest.fixture
def three(tmp_path):
    """Return a folder with three checkpoints, of which the middle one is the best."""
    for step, score in ((30, 5.0), (60, 8.0), (90, float("inf"))):
        save(tmp_path / str(step), {"a": jnp.zeros(3)}, score=score)
    return tmp_path


def test_a_best_checkpoint_that_is_damaged_is_not_passed_over_in_silence(three):
    like = {"a": jax.ShapeDtypeStruct((3,), jnp.float32)}
    (three / "60" / "state" / "manifest.ocdbt").unlink()
    assert checkpoint_folder.pick(three, "best").name == "60"
    with pytest.raises(CheckpointError, match="60 is damaged .*manifest.*; there is also --checkpoint=30 or 90"):
        checkpoint.read(checkpoint_folder.pick(three, "best"), like)


def test_the_best_is_not_guessed_where_a_checkpoint_does_not_say_its_score(three):
    (three / "60" / "meta.json").write_text("{")
    with pytest.raises(
        CheckpointError, match="the best checkpoint cannot be found: .*60 is damaged.*--checkpoint=30 or 90"
    ):
        checkpoint_folder.pick(three, "best")
    assert checkpoint_folder.best(three).name == "30"  # what to keep and to upload must be decided all the same


@pytest.mark.parametrize(
    "said",
    [
        {"score": "high"},
        {"score": []},
        {"files": None},
        {"files": {"../../x": 5}},
        {"sums": []},
        {"config": 5},
        {"keys": "k"},
        {"step": None},
        {"keys": {"a": "no generator"}},
        {"keys": {"a": 5}},
        {"more": 1},
    ],
)
def test_a_meta_file_of_another_kind_is_damage(three, said):
    path = three / "60"
    meta = json.loads((path / "meta.json").read_text())
    (path / "meta.json").write_text(json.dumps(meta | said))
    with pytest.raises(CheckpointError, match="60 is damaged"):
        checkpoint.read(path, {"a": jax.ShapeDtypeStruct((3,), jnp.float32)})


def test_odd_names_beside_checkpoints_are_passed_over(three):
    for name in ("60.bak", "²", "notes"):
        (three / name).mkdir()
    (three / "120").write_text("a file")
    assert checkpoint_folder.steps(three) == [30, 60, 90]
    with pytest.raises(CheckpointError, match="no checkpoint '²'"):
        checkpoint_folder.pick(three, "²")

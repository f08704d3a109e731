"""Datasets on disk: what is written is read bit by bit, whole or not at all, and fits the environment or is refused."""

import json
import os
import signal
import subprocess
import sys
import textwrap

import jax
import numpy as np
import pytest
from flashbax.vault import Vault

from tandem import contracts
from tandem.core import Discrete, EnvSpec, SearchExtras, Vector
from tandem.data import recorded
from tandem.datasets import card, foreign, loading, store
from tandem.datasets.dataset import chosen, joined, taken
from tandem.ops.streams import whole
from tests.datasets import made


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A dataset on disk, in a folder whose name others would take for a pattern."""
    path = tmp_path_factory.mktemp("data") / "3m [v1]"
    store.write(path, made.dataset())
    return path


def row():
    extras = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype), made.rows().extras)
    return contracts.row_of(made.SPEC, extras)


def same(one, other):
    jax.tree.map(np.testing.assert_array_equal, one, other)
    jax.tree.map(lambda x, y: np.testing.assert_equal(x.dtype, y.dtype), one, other)


def test_rows_come_back_bit_by_bit_with_what_followed_each(folder):
    found, _ = loading.load("nowhere", str(folder), made.SPEC, row())
    same(whole(found), jax.tree.map(lambda x: x[None], made.rows()))


def test_the_device_takes_over_what_was_read_and_other_rows_have_another_checksum(folder, tmp_path):
    held, checksum = loading.load("nowhere", str(folder), made.SPEC, row())
    on_device = recorded.hold(held).rows.obs
    assert on_device.unsafe_buffer_pointer() == held.rows.obs.ctypes.data  # on the processor: in memory once
    store.write(tmp_path / "other", made.dataset(seed=2))
    assert loading.load("nowhere", str(folder), made.SPEC, row())[1] == checksum
    assert loading.load("nowhere", str(tmp_path / "other"), made.SPEC, row())[1] != checksum


def test_flashbax_opens_the_vault_which_has_og_marls_layout(folder, tmp_path):
    (tmp_path / "plain").symlink_to(folder)  # flashbax takes a bracket in a path for a pattern
    vault = Vault(vault_name="corridor/long.vlt", rel_dir=str(tmp_path / "plain"), vault_uid="expert")
    tree = vault.read().experience
    leaves = {".".join(key.key for key in path): leaf[0] for path, leaf in jax.tree.leaves_with_path(tree)}
    same(leaves, store.read_vault(folder / "corridor" / "long.vlt" / "expert"))
    agents, size = made.AGENTS, sum(made.LENGTHS)
    assert leaves["observations"].shape == (size, agents, made.OBS) and leaves["actions"].shape == (size, agents)
    assert leaves["rewards"].shape == leaves["terminals"].shape == leaves["truncations"].shape == (size, agents)
    assert leaves["infos.state"].shape == (size, made.STATE) and leaves["infos.legals"].dtype == bool
    assert leaves["infos.policy"].shape == (size, agents, made.ACTIONS)


def test_anothers_vault_loses_the_last_row_of_an_episode_that_was_cut_off(tmp_path):
    whole = made.dataset()
    kept = {name: whole.rows[name] for name in ("obs", "action", "reward", "terminated", "truncated", "state", "legal")}
    store._write_vault(tmp_path, store._tree(kept, made.AGENTS), {"task": "3m", "level": "Good"})
    found = foreign.read(tmp_path / "3m.vlt" / "Good", None)
    index = np.delete(np.arange(17), 11)  # row 11 is the last of the episode of seven, which the limit has cut off
    np.testing.assert_array_equal(found.rows["obs"], whole.rows["obs"][index])
    assert found.ends["row"].tolist() == [3, 4, 10, 13, 15]
    assert np.flatnonzero(found.rows["truncated"]).tolist() == [10]
    np.testing.assert_array_equal(found.ends["next_obs"][2], whole.rows["obs"][11])
    assert not found.card["behaviour_known"] and found.card["spec"]["episode_limit"] is None
    copy = store.write(tmp_path / "ours", found)
    assert copy["rows"] == 16 and store.read(tmp_path / "ours").size == 16


def test_what_is_not_known_of_the_policy_is_not_a_number_and_memories_are_zero(folder, tmp_path):
    data = store.read(folder)
    rows = {name: array for name, array in data.rows.items() if name != "policy"}
    remembering = row()
    memory = jax.ShapeDtypeStruct((made.AGENTS, 8), np.float32)
    remembering = remembering.replace(extras=remembering.extras.replace(memory=memory))
    found = loading.as_stream(data._replace(rows=rows), made.SPEC, remembering, "it").rows.extras
    assert np.isnan(found.policy).all() and not np.isnan(found.log_prob).any()
    assert found.memory.shape == (1, 17, made.AGENTS, 8) and not found.memory.any()


def test_a_dataset_of_another_environment_is_refused_field_by_field(folder):
    other = EnvSpec(
        num_agents=4, obs=Vector(9), state=Vector(made.STATE), actions=Discrete(made.ACTIONS), episode_limit=8,
        shared_reward=False,
    )  # fmt: skip
    with pytest.raises(ValueError) as caught:
        loading.load("nowhere", str(folder), other, row())
    told = "num_agents 3 against 4; obs [5] against [9]; episode_limit 7 against 8; shared_reward True against False"
    assert told in str(caught.value)


def test_targets_of_a_search_are_refused(folder):
    nothing = jax.ShapeDtypeStruct((), np.float32)
    extras = SearchExtras(policy=nothing, value=nothing, rank=nothing, committed=nothing)
    with pytest.raises(ValueError, match="holds no targets of a search"):
        loading.load("nowhere", str(folder), made.SPEC, row().replace(extras=extras))


KILLED = textwrap.dedent("""
    import os, pathlib, signal, sys
    from tandem.datasets import store
    from tests.datasets import made
    def killed(self, target):
        os.kill(os.getpid(), signal.SIGKILL)
    pathlib.Path.rename = killed
    store.write(pathlib.Path(sys.argv[1]), made.dataset())
""")


def test_a_killed_process_leaves_nothing_under_the_name_and_can_be_repeated(tmp_path):
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "set")], env=environment, check=False)
    assert done.returncode == -signal.SIGKILL
    assert [path.name for path in tmp_path.iterdir()] == [".set.partial"]
    with pytest.raises(store.DatasetError, match="holds no dataset"):
        store.read(tmp_path / "set")
    store.write(tmp_path / "set", made.dataset())
    assert [path.name for path in tmp_path.iterdir()] == ["set"] and store.read(tmp_path / "set").size == 17


def test_what_is_there_is_not_overwritten(folder):
    with pytest.raises(store.DatasetError, match="is there already"):
        store.write(folder, made.dataset())


def test_altered_data_are_noticed(tmp_path):
    store.write(tmp_path / "set", made.dataset())
    changed = json.loads((tmp_path / "set" / store.CARD).read_text())
    changed["hashes"]["reward"] = "0"
    (tmp_path / "set" / store.CARD).write_text(json.dumps(changed))
    with pytest.raises(store.DatasetError, match="is damaged: reward not as written"):
        store.read(tmp_path / "set")
    (tmp_path / "set" / store.ENDS).write_bytes(b"no archive")
    with pytest.raises(store.DatasetError, match="ends.npz is damaged"):
        store.read(tmp_path / "set")


def test_datasets_are_joined_and_thinned_by_whole_episodes():
    one, two = made.dataset(1), made.dataset(2, "medium")
    both = joined([one, two])
    same(chosen(both, np.arange(5)).rows, one.rows)
    same(chosen(both, np.arange(5, 10)).ends, two.ends)
    assert both.card["level"] == "expert+medium" and len(both.card["origins"]) == 2
    few = taken(both, 0.2, seed=3)
    assert len(few.ends["row"]) == 2 and few.rows["first"].sum() == 2 and few.rows["first"][0]
    rest = taken(both, 0.2, seed=3, others=True)
    everything = np.concatenate([few.ends["next_state"], rest.ends["next_state"]])
    assert len(rest.ends["row"]) == 8 and set(map(bytes, everything)) == set(map(bytes, both.ends["next_state"]))
    with pytest.raises(ValueError, match=r"do not fit together: num_agents 3 against 2"):
        joined([one, two._replace(card=two.card | {"spec": two.card["spec"] | {"num_agents": 2}})])


def test_the_cards_numbers_are_those_of_a_slow_count():
    data = made.dataset()
    found = card.complete(data)
    totals, lengths, total, length = [], [], 0.0, 0
    played, pairs = np.zeros(made.ACTIONS), set()
    for t in range(data.size):
        total, length = total + float(np.mean(data.rows["reward"][t], dtype=np.float64)), length + 1
        for agent in range(made.AGENTS):
            played[data.rows["action"][t, agent]] += data.rows["alive"][t, agent]
        pairs.add((*(round(float(x), 4) for x in data.rows["state"][t]), *data.rows["action"][t].tolist()))
        if data.rows["terminated"][t] or data.rows["truncated"][t]:
            totals, lengths, total, length = [*totals, total], [*lengths, length], 0.0, 0
    assert lengths == list(made.LENGTHS) and found["episodes"] == 5 and found["rows"] == 17
    np.testing.assert_allclose(found["return"]["mean"], np.mean(totals), rtol=1e-6)
    np.testing.assert_allclose(found["return"]["sd"], np.std(totals), rtol=1e-6)
    assert found["length"]["median"] == 3.0 and found["truncated_share"] == 0.2 and found["metrics"] == {"won": 0.4}
    np.testing.assert_allclose(found["action_shares"], played / played.sum(), atol=1e-6)
    assert found["coverage"] == len(pairs) / 17
    np.testing.assert_allclose(found["trajectory_quality"], (np.mean(totals) + 1.0) / 4.0, rtol=1e-6)


def test_a_pair_that_comes_again_counts_once_in_the_coverage():
    data = made.dataset()
    twice = {name: np.concatenate([array, array]) for name, array in data.rows.items()}
    assert card.coverage(data._replace(rows=twice)) == pytest.approx(0.5)

"""A world model learns from recorded rows before anybody acts; no policy is touched, and what is frozen stays."""

import dataclasses
from functools import cache
from typing import Any

import jax
import numpy as np
import pytest

from tandem.core import LearnerState, Recorded, Transition, pytree
from tandem.data import recorded
from tandem.learners import marie, mazero, pretraining
from tandem.models import world_model
from tandem.models.imagination import model as imagination
from tandem.ops.streams import stream
from tandem.runners.pretraining import pretrained
from tests.reference import offline_rows
from tests.reference.compiled import quick_jit
from tests.reference.dreams import SMALL
from tests.reference.offline_rows import SPEC, A, N
from tests.reference.run_plans import run_plan

UPDATES = 60
PLAN = run_plan(SPEC, 0.9, 100)
SETTINGS = {"pretrain": "rows", "pretrain_updates": UPDATES}
NETS = {
    "mazero": world_model.make(
        world_model.Config(
            latent_size=8, hidden_size=12, encoder_size=16, attention="none", projection_size=6, value_bins=21,
            value_limit=4.0, reward_bins=21, reward_limit=4.0,
        ),
        SPEC,
    ),
    "marie": imagination.make(imagination.Config(**SMALL), SPEC),
}  # fmt: skip
CONFIGS = {
    "mazero": mazero.Config(
        unroll=1, n_step=1, warmup_updates=5, target_period_updates=9, learning_rate=1e-2, weight_decay=0.1, **SETTINGS
    ),
    "marie": marie.Config(
        context=1, horizon=2, starts=8, num_minibatches=2, epochs=1, warmup_updates=UPDATES, model_warmup=5,
        round_every=1, model_learning_rate=1e-2, weight_decay=0.1, **SETTINGS,
    ),
}  # fmt: skip
MODULES = {"mazero": mazero, "marie": marie}
PAID = "pretrain/reward_loss"
# Bins that are as wide as the observations already stay, though they are learned.
LEARNED = {"mazero": {"representation", "dynamics", "value_head", "projector", "predictor"}, "marie": {"world"}}


@pytree
class Run:
    learner: LearnerState


def at_random(seed: int) -> Transition:
    """Return rows [1, R, ...] of random play in two steps: in the first one agents are paid for their actions."""

    def draw(rng: np.random.Generator) -> list[tuple]:
        one, other = rng.integers(0, A, (2, N))
        return [(0, one, float(one[0] * one[1])), (1, other, 0.0)]

    return offline_rows.episodes(draw, choices=A, seed=seed).replace(extras=())


@cache
def learner(name: str, **changes: Any):
    return MODULES[name].make(dataclasses.replace(CONFIGS[name], **changes), NETS[name], PLAN)


@cache
def trained(name: str):
    """Return a learner's first state, the same pre-trained, and the metrics."""
    made = learner(name)
    replay = recorded.make(recorded.Config(batch_size=16), 1, made.sequence_length)
    rows = stream(jax.tree.map(np.asarray, at_random(1)))
    begun = offline_rows.begun(made)
    state, known = pretrained(made, Recorded(rows=rows, replay=replay), Run(learner=begun), 3)
    return begun, state.learner, known


def some(name: str, seed: int):
    replay = recorded.make(recorded.Config(batch_size=32), 1, learner(name).sequence_length)
    held = replay.store.hold(stream(jax.tree.map(np.asarray, at_random(seed))))
    return replay.source.sample(held, jax.random.key(seed), np.float32(0.0))


def moved(before: dict, after: dict) -> set[str]:
    """Return the names of the parameters that are not what they were."""
    return {
        name for name in before
        if any((np.asarray(a) != b).any() for a, b in zip(*map(jax.tree.leaves, (before[name], after[name]))))
    }  # fmt: skip


@pytest.mark.parametrize("name", MODULES)
def test_the_model_learns_what_it_was_not_shown_and_no_policy_moves(name):
    begun, after, known = trained(name)
    assert moved(begun.params, after.params) == LEARNED[name]
    for kept in ("opt", "step"):
        jax.tree.map(np.testing.assert_array_equal, getattr(after, kept), getattr(begun, kept))
    # An update tells the losses before its step: on rows of other episodes, which it did not learn from.
    plan, unseen = learner(name).pretraining, some(name, 8)
    update = quick_jit(lambda params, batch: plan.update(
        begun.replace(params=params, opt=plan.opt(params)), batch, jax.random.key(0)
    )[1])  # fmt: skip
    before, now = update(begun.params, unseen), update(after.params, unseen)
    assert now[PAID] < 0.5 * before[PAID]
    assert known[PAID] < 0.5 * known[f"{PAID}_before"]
    if name == "mazero":
        assert known["pretrain/value_loss"] < 0.8 * known["pretrain/value_loss_before"]
    assert (known["pretrain/updates"], known["pretrain/rows"]) == (UPDATES, offline_rows.ROWS)


@pytest.mark.parametrize("name", MODULES)
def test_a_frozen_model_stays_while_all_else_learns(name):
    made = learner(name, pretrain_mode="freeze")
    start = offline_rows.begun(made).replace(params=trained(name)[1].params, stats=trained(name)[1].stats)
    if name == "marie":
        start = start.replace(stats=offline_rows.begun(made).stats)
    update, batch = quick_jit(made.update), some(name, 2)
    extras = pretraining.without_search(batch.traj, jax.random.key(5)).extras
    state, metrics, _ = update(start, batch.replace(traj=batch.traj.replace(extras=extras)), jax.random.key(1))
    for _ in range(2):
        state, metrics, _ = update(state, batch.replace(traj=batch.traj.replace(extras=extras)), jax.random.key(1))
    assert moved(start.params, state.params) == set(start.params) - set(NETS[name].world)
    assert set(metrics) == set(made.metric_names) and all(np.isfinite(value) for value in metrics.values())
    if name == "mazero":  # what it says of rewards is in the units of its pre-training
        jax.tree.map(np.testing.assert_array_equal, state.stats.square, start.stats.square)


def test_rows_of_which_no_search_is_known_get_an_order_of_their_own():
    traj = some("mazero", 4).traj
    extras = pretraining.without_search(traj, jax.random.key(2)).extras
    np.testing.assert_array_equal(np.sort(extras.rank, axis=-1), np.broadcast_to(np.arange(N), extras.rank.shape))
    assert 0.3 < np.mean(extras.rank[..., 0]) < 0.7  # of 64: chance is out of this once in a thousand
    np.testing.assert_array_equal(extras.committed, traj.action)


def test_what_cannot_work_is_said():
    frozen = dataclasses.replace(CONFIGS["mazero"], pretrain_mode="freeze", pretrain="")
    assert "nothing was learned that could be kept" in " ".join(mazero.problems(frozen, PLAN))
    offline = dataclasses.replace(PLAN, clock="updates")
    assert "comes before acting" in " ".join(marie.problems(CONFIGS["marie"], offline))
    slow = dataclasses.replace(CONFIGS["marie"], warmup_updates=UPDATES + 100)
    assert "would never learn" in " ".join(marie.problems(slow, PLAN))
    assert marie.problems(CONFIGS["marie"], PLAN) == []
    plain = NETS["mazero"]._replace(world=())
    with pytest.raises(ValueError, match="does not say which of its parameters"):
        mazero.make(dataclasses.replace(CONFIGS["mazero"], pretrain_mode="freeze"), plain, PLAN)

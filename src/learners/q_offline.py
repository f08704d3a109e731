"""Q-learning from recorded data: learner `q` with other backups, a penalty on unseen actions, and the data's policy.

Nothing corrects a value that is too high for an action that the data never play, so bootstrapping spreads and grows it.
Conservative Q-learning (Kumar et al. 2020) pushes such values down by a term of the loss (`ops/conservatism.py`).
Discrete BCQ (Fujimoto et al. 2019) and other backups that read the behaviour (`ops/backups.py`) leave them out.
The behaviour is a network that is fitted to the same batches (`cloning.py`). It also measures what would be played.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from tandem.core import Array, Key, Learner, LearnerState, Model, Params, RunPlan, Transition, setting
from tandem.learners import cloning, q
from tandem.learners.entity_dropout import entity_dropout_setting, make_hide
from tandem.learners.offline_metrics import METRICS as MEASURED, measured, named
from tandem.learners.q import Beside, Learned, Method, Opinion
from tandem.learners.value_targets import cut, read
from tandem.ops import backups
from tandem.ops.backups import Backup
from tandem.ops.conservatism import PENALTIES, Options, Seen
from tandem.ops.distributions import CATEGORICAL
from tandem.ops.masking import masked_softmax

NONE = "none"


def initial_memory_setting() -> Any:
    """Return the setting of learners of values from recorded data, which another network acted for."""
    return setting(
        "zero", "memory before a sequence's first row: none, or as it was when that was acted on by this network",
        choices=("zero", "stored"),
    )  # fmt: skip


def td_lambda_setting() -> Any:
    """Return the setting of learners of values from recorded data, whose policy their returns are of."""
    return setting(
        0.0, "0: targets of one step; towards 1 they become what the data's own policy earned", low=0.0, high=1.0
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(q.Config):
    initial_memory: str = initial_memory_setting()
    td_lambda: float = td_lambda_setting()
    conservatism: str = setting(
        NONE, "what is held low: each agent's values, those of sampled joint actions, of one agent's other actions, "
        "the greatest value", choices=(NONE, *PENALTIES),
    )  # fmt: skip
    conservatism_weight: float = setting(1.0, "its factor in the loss; in units of the scaled values", low=0.0)
    sampled_actions: int = setting(20, "joint: joint actions by lot", low=1, high=1000)
    counterfactual_temperature: float = setting(
        0.0, "counterfactual: 0 = agents weigh alike; else how much more those that stray from the data", low=0.0
    )
    backup: str = setting(
        "greedy", "value of a successor: of the best action; of the best that the data play often enough; soft, under "
        "the behaviour; the behaviour's own; of the action that the data play next; an expectile",
        choices=("greedy", "support", "soft_behaviour", "behaviour", "data", "expectile"),
    )  # fmt: skip
    support_threshold: float = setting(
        0.3, "support: least probability of an action, as a share of the likeliest's", low=0.0, high=0.999
    )
    temperature: float = setting(1.0, "soft_behaviour: alpha, in units of the scaled values", low=1e-6)
    expectile: float = setting(0.7, "expectile: 0.5 = the mean, towards 1 the maximum", low=0.5, high=0.999)
    entity_dropout: float = entity_dropout_setting()


BACKUPS: dict[str, Callable[[Config], Backup]] = {
    "greedy": lambda config: backups.greedy,
    "support": lambda config: backups.support(config.support_threshold),
    "soft_behaviour": lambda config: backups.soft_behaviour(config.temperature),
    "behaviour": lambda config: backups.expected,
    "data": lambda config: backups.expected,  # under what was played next, see `played_next`
    "expectile": lambda config: backups.expectile(config.expectile),
}
METRICS = (*q.METRICS, "conservatism", "behaviour_loss", *MEASURED)


class Imitation(NamedTuple):
    """How the behaviour is fitted to the data."""

    # parameters, rows with those that are burned in, what is learned of the others -> loss [], metrics {name: []}
    loss: Callable[[Params, Transition, Learned], tuple[Array, dict[str, Array]]]
    metric_names: tuple[str, ...] = ()


problems = q.problems


def make(config: Config, model: Model, plan: RunPlan) -> Learner:
    """Return the learner.

    Raises:
      ValueError: as `assemble`.
    """
    return assemble(config, model, plan, imitation())


def assemble(config: Config, model: Model, plan: RunPlan, imitated: Imitation) -> Learner:
    """Return the learner beside a way to imitate.

    Raises:
      ValueError: a penalty on the team's value where agents are fitted by themselves, things to be hidden where the
        network sees none, or as `q.make`.
    """
    if model.q_values.by_agent and config.conservatism in ("joint", "counterfactual"):
        raise ValueError(
            f"learner_args.conservatism={config.conservatism}: it holds down values of the team, and with "
            "network_args.mixer=none there are none; choose conservatism=agent, or another mixer"
        )
    hide = make_hide(config.entity_dropout, model)
    method = Method(BACKUPS[config.backup](config), beside(config, model, plan, imitated), hide)
    learner = q.assemble(config, method, model, plan)

    def values(params: Params, rows: Transition, behaviour: Array) -> Array:
        return judged(
            config, read(model.q_values, params, model.q_values.memory(len(rows.first)), rows).values, behaviour
        )

    return learner._replace(held_out=held_out(model, values))


def judged(config: Config, values: Array, behaviour: Array) -> Array:
    """Return the values [..., A] by which is played: minus infinity for what is left out."""
    if config.backup != "support":
        return values
    return jnp.where(backups.supported(behaviour, config.support_threshold), values, -jnp.inf)


def held_out(
    model: Model, values: Callable[[Params, Transition, Array], Array]
) -> Callable[[LearnerState, Transition], dict[str, Array]]:
    """Return `Learner.held_out` of a learner with a behaviour.

    Args:
      values: parameters, episodes, behaviour [E, L, N, A] -> values [E, L, N, A] by which is played.
    """

    def judge(state: LearnerState, rows: Transition) -> dict[str, Array]:
        face = model.behaviour
        logits = face.logits(state.params, face.memory(rows.first.shape[0]), rows.obs, rows.first)[1]
        log_prob = CATEGORICAL.log_prob(logits, rows.legal, rows.action)
        each = values(state.params, rows, masked_softmax(logits, rows.legal))
        return cloning.held_out(log_prob, jnp.argmax(jnp.where(rows.legal, each, -jnp.inf), axis=-1), rows)

    return judge


def imitation() -> Imitation:
    """Return the imitation by the likelihood of the data's actions alone."""

    def imitated(params: Params, traj: Transition, learned: Learned) -> tuple[Array, dict[str, Array]]:
        return cloning.behaviour_loss(learned.opinion.said, learned.rows, learned.weight), {}

    return Imitation(imitated)


def beside(config: Config, model: Model, plan: RunPlan, imitated: Imitation) -> Beside:
    """Return what is learned beside the values: the behaviour, and what keeps values of unseen actions low."""

    def logits(params: Params, traj: Transition) -> tuple[Array, Array]:
        return cloning.behaviour_logits(model.behaviour, params, traj, config.burn_in)

    def opinion(params: Params, traj: Transition) -> Opinion:
        rows = cut(traj, config.burn_in)
        said = logits(params, traj)
        now, then = cloning.probabilities(said, rows)
        return Opinion(now, played_next(rows, then) if config.backup == "data" else then, said[0])

    def loss(params: Params, traj: Transition, learned: Learned, key: Key) -> tuple[Array, dict[str, Array]]:
        of_behaviour, metrics = imitated.loss(params, traj, learned)
        kept_low = held_down(config, learned, key)
        metrics |= {"train/conservatism": kept_low, "train/behaviour_loss": of_behaviour}
        plays = judged(config, jax.lax.stop_gradient(learned.values), learned.opinion.now)
        metrics |= measured(plays, learned, plan.discount, config.support_threshold)
        return of_behaviour + kept_low, metrics

    own = named((*METRICS[len(q.METRICS) :], *imitated.metric_names))
    return Beside(names=(cloning.BEHAVIOUR,), opinion=opinion, loss=loss, metric_names=own)


def held_down(config: Config, learned: Learned, key: Key) -> Array:
    """Return the weighted mean [] of the penalty on unseen actions' values; zero where none is asked for."""
    if config.conservatism == NONE:
        return jnp.zeros(())
    rows = learned.rows
    seen = Seen(learned.values, rows.legal, rows.action, rows.alive, learned.team, learned.opinion.now)
    options = Options(config.sampled_actions, config.counterfactual_temperature)
    each = PENALTIES[config.conservatism](seen, options, key)
    # Of the team's values there is one; of those that agents have for themselves, one for each.
    counts = rows.alive if each.shape[-1] == rows.alive.shape[-1] else jnp.any(rows.alive, axis=-1, keepdims=True)
    weight = learned.weight[:, None, None] * counts
    return config.conservatism_weight * jnp.sum(weight * each) / jnp.maximum(jnp.sum(counts), 1.0)


def played_next(rows: Transition, behaviour: Array) -> Array:
    """Return probabilities [B, T, N, A] of what the data play at the rows' successors.

    One for the action of the next row, where that is of the same episode. Where the sequence or the episode ends it is
    not known what comes next, so there it is the `behaviour` [B, T, N, A].
    """
    played = jax.nn.one_hot(jnp.roll(rows.action, -1, axis=1), behaviour.shape[-1])
    over = rows.terminated | rows.truncated | jnp.roll(rows.first, -1, axis=1)
    known = ~over.at[:, -1].set(True)
    return jnp.where(known[..., None, None], played, behaviour)

"""Who finds the optimum by search alone: `python benchmarks/penalty_exact.py --agents 2 4 10`.

The penalty game (k = -100) of N agents with the game itself as the model, uniform policies and nothing learned. Every
planner imagines N times `--simulations` steps per decision: `plies` and `root only` in N searches, `paths` and
`joint` in one. A decision counts if it earns 10; agents number their moves differently, so that ties, which go to
action 0, are no help. Time is the processor's, of one decision among many planned at once.
"""

import argparse
import statistics
import time

import harness
import jax
import jax.numpy as jnp

from tandem.core import Codec, Imagined, Latents, Model, TeamPolicy, TeamValue, TimeStep
from tandem.envs import matrix_game
from tandem.registry import find

GAME = {"max_depth": 1, "value_scale": 10.0}  # as in src/config/envs/matrix_game.yaml
WIDE = "joint, wide"
PLANNERS = {
    "root only": ("root_only", {}),
    "plies": ("plies", {}),
    "plies, optimistic": ("plies", {"os_rho": 0.75}),  # MAZero's default rho; lambda 1, for a ply is not a step
    "paths": ("paths", {}),
    "paths, best": ("paths", {"unfinished_backup": "best", "interior_value_scale": 0.02}),
    "joint": ("joint", {}),
    WIDE: ("joint", {}),  # with as many candidates as simulations: all that can be tried
    "joint, optimistic": ("joint", {"os_rho": 0.75, "os_lambda": 0.8}),
}
WIDEST = 6  # agents that WIDE is measured with: it compares the candidates of a node in pairs, S times S^2 of them
IN_TURNS = ("root only", "plies", "plies, optimistic")  # a search for each agent
CALLS = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--agents", type=int, nargs="+", default=list(range(2, 11)))
    parser.add_argument("--planners", nargs="+", default=list(PLANNERS), choices=list(PLANNERS))
    parser.add_argument("--simulations", type=int, default=64, help="imagined steps per agent and decision")
    parser.add_argument("--decisions", type=int, default=64, help="planned at once")
    parser.add_argument("--name", default="penalty_exact", help="of the result")
    options = parser.parse_args()
    rows, result = [], []
    for agents in options.agents:
        env = matrix_game.make(matrix_game.Config(scenario="penalty", num_agents=agents, relabel=True))
        for name in options.planners:
            family, settings = PLANNERS[name]
            simulations = options.simulations * (1 if name in IN_TURNS else agents)
            if name == WIDE:
                if agents > WIDEST:
                    continue
                settings = {"num_samples": simulations, "max_considered": simulations}
            entry = find("planner", family)
            planner = entry.make(
                entry.config()(num_simulations=simulations, **GAME, **settings), exact_model(env), env.spec, 0.99
            )
            optimal, milliseconds = measure(env, planner, options.decisions)
            rows.append([agents, name, simulations, f"{optimal:.2f}", f"{milliseconds:.3f}"])
            result.append(
                {
                    "agents": agents,
                    "planner": name,
                    "simulations": simulations,
                    "optimal": optimal,
                    "decision_cpu_ms": milliseconds,
                }
            )
            print(rows[-1], flush=True)
    print(harness.table(rows, ["agents", "planner", "simulations per search", "optimum played", "CPU ms per decision"]))
    harness.write(options.name, {"decisions": CALLS * options.decisions, "runs": result})


def measure(env, planner, decisions: int) -> tuple[float, float]:
    """Return how often greedy play is optimal, and the processor time of a decision in
    milliseconds, compiling apart.
    """
    timestep: TimeStep = jax.vmap(lambda key: env.reset(key)[1])(jax.random.split(jax.random.key(0), decisions))
    plan = jax.jit(lambda key: planner.plan({}, planner.init(decisions), timestep, key, False, jnp.zeros(()))[1].action)
    jax.block_until_ready(plan(jax.random.key(0)))
    start = matrix_game.GameState(situation=jnp.int32(0))
    step = lambda joint: env.step(jax.random.key(0), start, joint)[1]  # noqa: E731
    times, won = [], []
    for call in range(CALLS):
        began = time.process_time()
        action = jax.device_get(plan(jax.random.key(1 + call)))
        times.append(time.process_time() - began)
        won += list(jax.vmap(lambda joint: step(joint).metrics["optimal"])(jnp.asarray(action)))
    return sum(map(float, won)) / len(won), 1000 * statistics.median(times) / decisions


def exact_model(env) -> Model:
    """Return the game as a world model; its latent [..., N, 1] is 1 once the game is over, policies are uniform.

    As in a learned model, a latent is computed from the one before it: else XLA would copy what a search keeps of them.
    """
    num_actions = env.spec.actions.size

    def pay(action):
        """Return the team's pay [...] for actions [..., N]."""

        def one(joint):
            state = matrix_game.GameState(situation=jnp.int32(0))
            return env.step(jax.random.key(0), state, joint)[1].reward[0]

        return jax.vmap(one)(action.reshape(-1, action.shape[-1])).reshape(action.shape[:-1])

    drawn = jax.random.randint(jax.random.key(0), (100_000, env.spec.num_agents), 0, num_actions)
    worth = float(jnp.mean(jax.jit(pay)(drawn)))  # of uniform play

    def over(latent):
        return latent[..., 0, 0] > 0

    def imagine(params, latent, action, key):
        reward = jnp.where(over(latent), 0.0, pay(action))
        return Imagined(latent=jnp.maximum(latent, 1.0), reward=reward, continues=jnp.ones_like(reward))

    scalars = Codec(mean=lambda x: x, target=lambda x: x)
    return Model(
        init=lambda key: {},
        latents=Latents(
            memory=lambda batch: (), imagine=imagine, reward=scalars,
            represent=lambda params, memory, obs, first: (memory, jnp.zeros((*obs.shape[:-1], 1))),
        ),
        team_policy=TeamPolicy(
            logits=lambda params, latent, action, visible: jnp.zeros((*action.shape, num_actions)),
            begin=lambda params, latent: (latent, latent[..., 0, :]),
            commit=lambda params, plan, latent, agent, action: plan,
            reply=lambda params, own, plan: jnp.zeros((*own.shape[:-1], num_actions)),
        ),
        team_value=TeamValue(
            logits=lambda params, latent, action, committed: jnp.where(over(latent), 0.0, worth), codec=scalars
        ),
    )  # fmt: skip


if __name__ == "__main__":
    main()

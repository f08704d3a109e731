# %% [markdown]
# # Play with what a run has learned
#
# This is a notebook kept as text. Open it in Jupyter with jupytext, or in an editor that knows `# %%` cells. Or run it:
#
#     python docs/notebooks/play.py
#
# It trains a small team, loads what the team has learned, plays with it, and exports it. It takes half a minute.

# %% [markdown]
# ## Train
# Any recorded run will do. This one learns *climbing*, a game with one move in which two agents must agree. The best
# joint action pays 11, and a mistake next to it costs 30.

# %%
import subprocess
import sys

train = "train --config=mappo --env-config=matrix_game with seed=2 t_max=16384 video=False".split()
smaller = ["runner_args.num_envs=32", "runner_args.rollout_length=16", "runner_args.report_every=4096"]
subprocess.run([sys.executable, "-m", "tandem.main", *train, *smaller, "eval_args.every=8192"], check=True)

# %% [markdown]
# ## Load
# `tandem.load` takes a run's folder or its id. The policy is decentralised: each agent acts by what it has seen itself.

# %%
import jax
import numpy as np

import tandem
from tandem.records import runs

newest = runs.ids()[-1]
policy = tandem.load(newest)
print("agents", policy.spec.num_agents, "- observation", policy.spec.obs.shape, "- actions", policy.spec.actions.size)

# %% [markdown]
# ## Act
# `act` takes any number of environments at once: observations `[B, N, O]` and legal actions `[B, N, A]`. Here are five.
# Without a key the agents take their likeliest actions.

# %%
from tandem import build

env = build.environment(policy.config)
games = 5
keys = jax.random.split(jax.random.key(0), games)
state, step = jax.jit(jax.vmap(env.reset))(keys)
memory, earned = policy.memory(games), np.zeros(games)
advance = jax.jit(jax.vmap(env.step))
for _ in range(policy.spec.episode_limit):
    action, memory = policy.act(step.obs, step.legal, memory, first=step.first)
    state, step = advance(keys, state, action)
    earned += np.asarray(step.reward)[:, 0]
print("actions", action.tolist(), "- returns", earned.tolist())
assert len(set(map(tuple, action.tolist()))) == 1  # the same game five times, and no chance in it

# %% [markdown]
# With a key the agents draw their actions by the policy's probabilities.

# %%
drawn, _ = policy.act(step.obs, step.legal, key=jax.random.key(1))
print("drawn", drawn.tolist())

# %% [markdown]
# One environment needs no batch axis. An array that does not fit gets a sentence.

# %%
alone, _ = policy.act(np.asarray(step.obs)[0])
try:
    policy.act(np.zeros((2, 99)))
except ValueError as error:
    print("refused:", error)

# %% [markdown]
# ## Export
# The exported program needs nothing but JAX. `tandem export` writes it, with a card that says what goes in and out.

# %%
subprocess.run(
    [sys.executable, "-m", "tandem.main", "export", f"--run={newest}", "--format=stablehlo", "--out=team.stablehlo"],
    check=True,
)

# %%
with open("team.stablehlo", "rb") as file:
    program = jax.export.deserialize(bytearray(file.read()))
legal = np.ones((3, policy.spec.num_agents, policy.spec.actions.size), bool)
obs = np.random.default_rng(0).normal(size=(3, policy.spec.num_agents, *policy.spec.obs.shape)).astype(np.float32)
(logits,) = program.call(obs, legal)
outputs, _ = policy.outputs(obs)
print("largest difference", float(np.abs(logits - outputs).max()))
assert np.allclose(logits, outputs, atol=1e-5)

"""Exported policies say the same without Tandem: jax.export alone, onnxruntime, NumPy by hand."""

import json
import os
import subprocess
import sys
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tandem import main
from tandem.chosen import Chosen
from tandem.config import commandline, loader
from tandem.core import Alone, Discrete, EnvSpec, Vector
from tandem.exports import formats, function, onnx_graph
from tandem.ops.distributions import CATEGORICAL
from tests.reference import stored_policies

pytestmark = pytest.mark.jaxmarl

SMALL = ("network_args.hidden_size=12",)
MODEL = (*SMALL, "network_args.latent_size=6", "network_args.attention_size=8")
ENTITIES = ("network_args.encoder=entities", "network_args.entity_size=8", "network_args.relation_size=3")
GRU = ("network_args.actor_memory=gru", "learner_args.chunk_length=0", "network_args.layer_norm=True")
CASES = {
    "mlp": ("ippo", "matrix_game", *SMALL),
    "gru": ("mappo_ns", "matrix_game", *SMALL, *GRU),
    "continuous": ("mappo_continuous", "mpe", *SMALL, "env_args.action_type=continuous"),
    "tag": ("mappo", "mpe", *SMALL, *ENTITIES, "env_args.scenario=simple_tag", "network_args.pooling=attention_max"),
    "model": ("mazero_seq", "matrix_game", *MODEL),
    "model, attention": ("mazero_seq", "matrix_game", *MODEL, "network_args.policy_head=attention"),
    "model, entities": ("mazero_seq", "mpe", *MODEL, *ENTITIES),
}
CASES |= {
    "values": ("vdn", "matrix_game", *SMALL, "network_args.memory=gru", "network_args.dueling=True"),
    "soft": ("sac", "matrix_game", *SMALL),
    "soft, continuous": ("sac", "mpe", *SMALL, "env_args.action_type=continuous"),
    "bins": ("mappo_continuous", "mpe", *SMALL, "env_args.action_type=continuous", "network_args.action_bins=5"),
}
SKILLS = ("network_args.memory=gru", "network_args.policy_gain=1.0", "planner_args.shared_luck=False")
CASES["skills"] = ("coordination", "mpe", *SMALL, *ENTITIES, *SKILLS)
ALONE = """
import sys
import numpy as np, jax, onnxruntime
folder, cases = sys.argv[1], sys.argv[2:]
for case in cases:
    program = jax.export.deserialize(bytearray(open(f"{folder}/{case}.stablehlo", "rb").read()))
    session = onnxruntime.InferenceSession(f"{folder}/{case}.onnx")
    for batch in (1, 5):
        held = np.load(f"{folder}/{case}-{batch}.npz")
        inputs = {each.name: held[each.name] for each in session.get_inputs()}
        wanted = [held[f"out_{i}"] for i in range(len(session.get_outputs()))]
        for answer in (program.call(*inputs.values()), session.run(None, inputs)):
            assert len(answer) == len(wanted)
            for found, expected in zip(answer, wanted):
                assert found.shape == expected.shape and found.dtype == expected.dtype
                np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
assert not [name for name in sys.modules if name.split(".")[0] in ("tandem", "flax", "jaxmarl")]
"""


@cache
def exported(case: str):
    """Return (function, parameters, spec) of a policy with random parameters."""
    alg, env, *settings = CASES[case]
    config = loader.load(alg, env, commandline.updates(settings))
    parts = Chosen(config, ("env", "network", "planner"))
    spec = parts.make("env").spec
    model = parts.make("network", spec)
    alone = parts.make("planner", model, spec, 0.97).players()["policy"].alone
    like = jax.eval_shape(lambda key: model.acting(model.init(key)), jax.random.key(0))
    params = stored_policies.random_params(like, 3)
    return function.make(alone, params, spec), params, spec


def inputs(made: function.Function, batch: int) -> dict[str, np.ndarray]:
    """Return random inputs; the first action is always legal."""
    random, found = np.random.default_rng(batch), {}
    for port in made.inputs:
        shape = tuple(batch if size == function.BATCH else size for size in port.shape)
        found[port.name] = random.random(shape) < 0.6 if port.dtype == "bool" else random.standard_normal(shape)
        found[port.name] = found[port.name].astype(port.dtype)
    found["legal"][..., 0] = True
    return found


def test_files_play_alike_without_tandem_in_batches_of_any_size(tmp_path):
    for case in CASES:
        made, params, _ = exported(case)
        for form in ("stablehlo", "onnx"):
            (tmp_path / f"{case}.{form}").write_bytes(formats.FORMATS[form](made, params))
        call = jax.jit(made.call)
        for batch in (1, 5):
            given = inputs(made, batch)
            wanted = call(*given.values())
            assert float(np.std(np.asarray(wanted[0])[np.asarray(wanted[0]) > -1e8])) > 0.05  # not all alike
            named = {f"out_{i}": np.asarray(x) for i, x in enumerate(wanted)}
            np.savez(tmp_path / f"{case}-{batch}.npz", **given, **named)
    command = [sys.executable, "-P", "-W", "error", "-c", ALONE, str(tmp_path), *CASES]
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "onnxruntime" not in done.stderr  # it has nothing to remark


def test_the_parameters_are_named_so_that_numpy_can_play(tmp_path):
    made, params, spec = exported("mlp")
    (tmp_path / "policy.npz").write_bytes(formats.npz(made, params))
    held, given = np.load(tmp_path / "policy.npz"), inputs(made, 4)
    ids = np.broadcast_to(np.eye(spec.num_agents, dtype=np.float32), (4, spec.num_agents, spec.num_agents))
    x = np.concatenate([given["obs"], ids], axis=-1)
    for layer in ("body.Dense_0", "body.Dense_1", "policy_head"):
        x = x @ held[f"actor.{layer}.rows.kernel"] + held[f"actor.{layer}.rows.bias"]
        x = x if layer == "policy_head" else np.maximum(x, 0)
    logits = np.where(given["legal"], x, -1e9)
    np.testing.assert_allclose(made.call(*given.values())[0], logits, rtol=1e-5, atol=1e-5)
    assert not [name for name in held if "critic" in name]


def odd(compute) -> function.Function:
    """Return a policy of three agents whose logits are computed oddly."""
    spec = EnvSpec(
        num_agents=3, obs=Vector(5), state=Vector(0), actions=Discrete(5), episode_limit=9, shared_reward=True
    )  # fmt: skip
    alone = Alone(memory=lambda batch: (), outputs=lambda p, m, obs, first: (m, compute(obs)), distribution=CATEGORICAL)
    return function.make(alone, {}, spec)


def _both(carry, row):
    return carry + row, carry * row


ODD = {
    "cut": lambda x: jnp.pad(x[..., ::2], ((0, 0), (0, 0), (1, 1))) + x[:, [2, 0, 1]] + x[:, :1] * x[:, -1:],
    "sums": lambda x: jnp.cumsum(x, -1) - x.max(1, keepdims=True) + x.min(axis=-1, keepdims=True) + x.sum(1)[:, None],
    "logic": lambda x: jnp.where((x > 0) & ~(x > 1) | (x < -1), x, -x) + jnp.any(x > 0.2, -1, keepdims=True),
    "signs": lambda x: jnp.sign(x) * jnp.abs(x) + jnp.floor(x) - x.clip(-1, 1) + jnp.all(x != 3, -1)[..., None],
    "bends": lambda x: jax.nn.gelu(x, approximate=False) + jax.nn.softplus(x) + jnp.expm1(x) + jnp.sin(x) * jnp.cos(x),
    "turned": lambda x: jnp.einsum("bio,bjo->bij", x, x) @ jnp.ones((3, 5)) + jnp.swapaxes(x, 1, 2)[:, :3, :1],
    "loop": lambda x: jax.lax.scan(_both, x[:, 0], x.swapaxes(0, 1), reverse=True)[1].swapaxes(0, 1),
    "chosen": lambda x: x + jnp.argmax(x, -1)[..., None] + jnp.arange(5)[jnp.array([4, 0, 1, 3, 2])],
    "counted": lambda x: jnp.concatenate([x[:, :1]] * 3, 1) ** 3 + jnp.stack([x, x], 2).mean(2) * x.shape[1],
}  # fmt: skip


@pytest.mark.parametrize("name", ODD)
def test_operators_are_translated_one_by_one(name):
    import onnxruntime

    made = odd(ODD[name])
    session = onnxruntime.InferenceSession(onnx_graph.model(made))
    for batch in (1, 4):
        given = inputs(made, batch)
        (found,) = session.run(None, given)
        np.testing.assert_allclose(found, made.call(*given.values())[0], rtol=1e-5, atol=1e-5)


def test_what_has_no_translation_is_named():
    with pytest.raises(
        onnx_graph.Untranslated, match="computes 'sort', which is not translated to ONNX; choose --form"
    ):
        onnx_graph.model(odd(lambda x: jnp.sort(x, axis=-1)))
    with pytest.raises(onnx_graph.Untranslated, match="indexes by computed values"):
        onnx_graph.model(odd(lambda x: jnp.take_along_axis(x, jnp.argmax(x, -1, keepdims=True), -1) + x))
    with pytest.raises(onnx_graph.Untranslated, match="compute_dtype=float32"):
        onnx_graph.model(odd(lambda x: x.astype(jnp.bfloat16).astype(jnp.float32)))


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported") / "results"
    stored_policies.write(folder, 1, *CASES["gru"])
    return folder


@pytest.fixture
def typed(results, monkeypatch, capsys):
    """Return a function that types a command beside the results and returns (status, stdout, stderr)."""
    monkeypatch.chdir(results.parent)
    return lambda *words: (main.main(words), *capsys.readouterr())


@pytest.mark.parametrize("form", ["stablehlo", "onnx", "npz"])
def test_the_command_writes_a_file_and_a_card(typed, results, form):
    status, said, _ = typed("export", "--run=1", f"--format={form}")
    path = results / "sacred" / "1" / f"policy-77.{form}"
    assert status == 0 and path.stat().st_size > 1000 and f"{path.name}.json" in said
    card = json.loads(path.with_name(f"{path.name}.json").read_text())
    assert [port["name"] for port in card["inputs"]] == ["obs", "legal", "first", "memory_0"]
    assert card["outputs"][0]["shape"] == ["batch", 2, 3] and card["memory_at_the_beginning"] == [0.0]
    assert (card["run"], card["step"], card["format"]) == ("1", 77, form)
    assert card["settings"]["env"] == "matrix_game" and "results_dir" not in card["settings"]


def test_the_file_can_be_put_elsewhere(typed, results):
    status, said, _ = typed("export", "--run", "results/sacred/1", "--format=npz", "--out=mine.bin", "--checkpoint=77")
    assert status == 0 and (results.parent / "mine.bin.json").exists() and "mine.bin" in said
    assert "actor.policy_head.rows.bias" in np.load(results.parent / "mine.bin")


@pytest.mark.parametrize(
    "words, complaint",
    [
        (["--run=1", "--format=onx"], "no format 'onx'; did you mean onnx?"),
        (["--run=1"], "required: --format"),
        (["--run=1", "--formt=onnx"], "did you mean --format?"),
        (["--run=8", "--format=npz"], "no run '8'"),
        (["--run=1", "--format=npz", "--checkpoint=78"], "choose best, last or one of 77"),
        (["--run=1", "--format=npz", "--out=no/such/folder/x"], "no/such/folder"),
        (["--run=1", "--format=npz", "with", "network_args.hiden_size=3"], "did you mean network_args.hidden_size?"),
    ],
)
def test_typos_are_told_in_one_message(typed, words, complaint):
    status, _, said = typed("export", *words)
    assert status == 2 and complaint in said and "Traceback" not in said

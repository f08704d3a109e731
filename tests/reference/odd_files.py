"""Configuration, space and ablation files of which it is known whether they can be used, made at random from parts."""

import random
from typing import NamedTuple


class File(NamedTuple):
    """A file's content, and what a message about it has to name; nothing where it is to be accepted."""

    content: bytes
    named: tuple[str, ...] = ()


BAD_SCALARS = (
    "012",
    "1:30",
    "yes",
    "0x10",
    "1e999",
    ".inf",
    ".nan",
    "²",
    "9" * 400,
    "9" * 5000,
    "'3'",
    "[3]",
    "{a: 3}",
    "2024-01-01",
    "true",
    "1_",
)
BROKEN = (  # whatever a file is for
    b"\xff\xfes\x00e\x00e\x00d\x00",  # UTF-16
    b"seed: \xe9\n",  # Latin-1
    b"\x00\x01\x02", b"a: [1\n", b"- 1\n- 2\n", b"seed 3\n", b"a:\t- 1\n\tb", b"--- \na: 1\n---\nb: 2\n",
    b"a: *nowhere\n",
    b"a: !!python/object/apply:os.getcwd []\n", b"a: !!set {x, y}\n", b"a: !!timestamp soon\n", b"a: !!bool perhaps\n",
    b"a: &a [*a]\n", b"? [1]\n: 2\n", b"x: " + b"[" * 3000, b"a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + b"".join(
        b"%c: &%c [%s]\n" % (one, one, b", ".join([b"*%c" % (one - 1)] * 10)) for one in b"bcdefgh"),
)  # fmt: skip
SETTINGS = {  # of mazero_seq on matrix_game: spellings in a file, and what they mean
    "seed": {"7": 7, "1_000": 1000, "+3": 3, "0": 0},
    "t_max": {"400000": 400000, "2e5": 200000, "1.0E+5": 100000},
    "discount": {"1": 1.0, "0.5": 0.5, ".5": 0.5, "5e-1": 0.5},
    "name": {
        "plain": "plain",
        "'2e5'": "2e5",
        "\"with spaces [v1] 'q' \\\\\"": "with spaces [v1] 'q' \\",
        "жар": "жар",
        "no": "no",
    },
    "mongo_optional": {"true": True, "False": False},
    "mongo_url": {"''": "", "null": None, "None": None, "~": None},
}
INNER = {
    "learner_args": {"unroll": {"1": 1}, "n_step": {"1": 1, "3": 3}, "learning_rate": {"3e-4": 3e-4, "0.01": 0.01}},
    "planner_args": {"num_simulations": {"2": 2, "1_6": 16}, "order": {"fixed": "fixed"}},
    "eval_args": {"episodes": {"3": 3}},
}
NUMBERS = ("seed", "t_max", "discount", "max_minutes")


def good_settings(rng: random.Random) -> tuple[str, dict[str, object]]:
    """Return the text of a configuration file, and the settings by their dotted keys."""
    lines, meant = [rng.choice(["", "# a comment", "---"])], {}
    for key in rng.sample(list(SETTINGS), rng.randint(0, 4)):
        text, meant[key] = rng.choice(list(SETTINGS[key].items()))
        lines.append(f"{key}: {text}" + rng.choice(["", "  # why"]))
    for section in rng.sample(list(INNER), rng.randint(0, 3)):
        lines.append(f"{section}:")
        for key in rng.sample(list(INNER[section]), rng.randint(0, len(INNER[section]))):
            text, meant[f"{section}.{key}"] = rng.choice(list(INNER[section][key].items()))
            lines.append(f"  {key}: {text}")
    return "\n".join(lines) + "\n", meant


def encoded(rng: random.Random, text: str) -> bytes:
    """Return a text as one of the editors of this world saves it."""
    if rng.random() < 0.2:
        return text.replace("\n", "\r\n").encode("utf-8")
    return text.encode("utf-8-sig" if rng.random() < 0.1 else "utf-8")


def bad_settings(rng: random.Random) -> File:
    """Return a configuration file with a mistake."""
    text, _ = good_settings(rng)
    number, scalar = rng.choice(NUMBERS), rng.choice(BAD_SCALARS)
    line, named = rng.choice([
        (f"{number}: {scalar}", number),
        (f"learner_args: {{n_step: {scalar}}}", "n_step"),
        ("replay_args: 3", "replay_args"),
        ("replay_args: [capacity]", "replay_args"),
        ("replay_args.capacity: 700", "replay_args"),
        ("replay_args: {batch_size.x: 9}", "batch_size"),
        ("video: yes", "video"),
        ("results_dir:", "results_dir"),
        ("platform: tpu", "platform"),
        ("seeds: 3", "seeds"),
        ("3: 4", "3"),
        ("replay_args: {capacity: 700, capacity: 800}", "written twice"),
        (f"{'k' * 3000}: 1", "line "),  # the text itself may be a secret
    ])  # fmt: skip
    if any(f"\n{key}" in text for key in (f"{number}:", "learner_args:")):
        text = ""
    if rng.random() < 0.2:
        return File(encoded(rng, text + "video: false\nvideo: false\n"), ("written twice", "video"))
    return File(encoded(rng, f"{text}{line}\n"), (named,))


GOOD_SPACE = {
    "learner_args.learning_rate": ("{log_uniform: [3e-4, 1.0e-2]}", "[0.001, 0.01]", "{uniform: [0.001, 0.01]}"),
    "learner_args.n_step": ("[1, 3]", "{choice: [1]}", "{int_uniform: [1, 3]}"),
    "planner_args.num_simulations": ("{choice: [2, 5]}", "{log_int_uniform: [1, 16]}"),
    "planner_args.order": ("[fixed, random]",),
}
BAD_SPACE = (
    "[]", "3", "{choice: 3}", "{choice: []}", "{uniform: [3, 1]}", "{uniform: [1]}", "{uniform: [1, .inf]}",
    "{uniform: [1, .nan]}",
    "{log_uniform: [0, 1]}", "{unifrom: [0, 1]}", "{uniform: [0, 1], choice: [1]}", "{uniform: [a, b]}", "[1, 1]",
    "{int_uniform: [1.5, 3]}",
    "{int_uniform: [1, 1" + "0" * 400 + "]}", "[-7]", "[1e30]", "[many]", "[1, [2]]", "{grid: [1]}",
    "{3: [1]}", f"[{', '.join(map(str, range(300)))}]", "",
)  # fmt: skip


def space(rng: random.Random, good: bool) -> File:
    """Return a search space, with a mistake or without one."""
    lines = [f"{key}: {rng.choice(GOOD_SPACE[key])}" for key in rng.sample(list(GOOD_SPACE), rng.randint(1, 4))]
    if good:
        return File(encoded(rng, "\n".join(lines) + "\n"))
    key, _, _ = lines[-1].partition(":")
    wrong, named = rng.choice(
        [
            ([*lines[:-1], f"learner_args.n_step2: {rng.choice(BAD_SPACE)}"], "n_step2"),
            (
                [*(line for line in lines if "n_step" not in line), f"learner_args.n_step: {rng.choice(BAD_SPACE)}"],
                "args.n_step",
            ),
            ([*lines, lines[-1]], "written twice"),
            ([*lines, f"{key.split('.')[0]}: {{{key.split('.')[1]}: [1]}}"], "written twice"),
            ([*lines, "results_dir: [a, b]"], "results_dir"),
            ([*lines, "seed: [1, 2, 3.5]"], "seed"),
        ]
    )
    return File(encoded(rng, "\n".join(wrong) + "\n"), (named,))


ABLATION = """name: {name}
seeds: {seeds}
settings: {settings}
environments:
  {environment}: {{env_config: matrix_game, settings: {{learner_args.unroll: 1}}}}
variants:
  {variant}: {{config: {config}, settings: {{{inner}}}}}
report: {report}
"""
GOOD_ABLATION = {
    "name": ("heads", "'a b [v1]'", "2e5", "жар"),
    "seeds": ("3", "1-2", "'1,4,7'", "1_0"),
    "settings": ("{}", "", "{max_minutes: 3, learner_args: {n_step: 1}}", "{learner_args.n_step: 1}"),
    "environment": ("climbing", "'a/b'", "1"),
    "variant": ("sum", "'with [brackets] and spaces'", "2e5", "'true'"),
    "config": ("mazero_seq", "mazero_joint"),
    "inner": ("", "network_args.policy_layers: 2", "network_args: {policy_layers: 2}", "env_args.scenario: penalty"),
    "report": ("", "{metric: eval/policy/return, x: time}", "{at: 100, threshold: -1.5}"),
}  # fmt: skip
BAD_ABLATION = {
    "name": ("'../up'", "/abs", "n" * 300, '"a\\nb"', "''", ".hidden"),
    "seeds": ("many", "99999999999", "1-", "²", "'3000000000-3000000001'", "[1, 2]", "-1", "1.5"),
    "settings": ("[1]", "{seed: 1}", "{max_minutes: nan}", "{name: x}", "{results_dir: x}",
    "{learner_args: {n_step: 1}, learner_args.n_step: 2}", "3"),
    "variant": ("'../up'", "'a/b'", "v" * 300, '"a\\tb"'),
    "config": ("mazero_sq", "", "[mazero_seq]", "./none.yaml", "c" * 300),
    "inner": ("network_args.policy_layers: many", "learner_args: 3", "x: 1",
    "network_args.policy_layers: 0, network_args: {policy_layers: 2}"),
    "report": ("[1]", "{x: nope}", "{at: .nan}", "{at: soon}", "{threshold: .inf}", "{metrik: a}", "3"),
}  # fmt: skip


def ablation(rng: random.Random, good: bool) -> File:
    """Return an ablation's file, with a mistake or without one; the mistake's place is named by its message."""
    chosen = {key: rng.choice(values) for key, values in GOOD_ABLATION.items()}
    if good:
        return File(encoded(rng, ABLATION.format(**chosen)))
    place = rng.choice(list(BAD_ABLATION))
    chosen[place] = rng.choice(BAD_ABLATION[place])
    said = {"inner": "variant", "settings": ""}.get(place, place)
    return File(encoded(rng, ABLATION.format(**chosen)), (said,))

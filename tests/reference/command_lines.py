"""Command lines whose right exit status is known, made at random: a known-good one, or one with a known mistake."""

import json
import random
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from tests.reference import odd_files
from tests.reference.odd_files import BROKEN, File

OK, REFUSED = 0, 2


class Case(NamedTuple):
    """A command line, the files that are there, and what must become of it."""

    words: tuple[str, ...]
    status: int = OK
    named: tuple[str, ...] = ()  # what a refusal's message has to say
    files: Mapping[str, bytes] = {}  # by their paths in the current folder
    meant: Mapping[str, Any] = {}  # settings that an accepted line stands for, by their dotted keys


TRAIN = {  # settings of mazero_seq on matrix_game as they are typed, and what they mean
    "seed": {"7": 7, "1_000": 1000, "0x10": 16, "2e3": 2000, " 5 ": 5},
    "t_max": {"400000": 400000, "2e5": 200000, "2000000000": 2000000000},
    "max_minutes": {"0": 0.0, ".5": 0.5, "1e-3": 0.001},
    "discount": {"1": 1.0, "0.9": 0.9},
    "name": {
        "2e5": "2e5",
        "a b": "a b",
        "[v1]": "[v1]",
        "it's": "it's",
        "back\\slash": "back\\slash",
        "жар": "жар",
        "$x": "$x",
        "-x": "-x",
    },
    "results_dir": {
        "runs [v1]": "runs [v1]",
        "a*b?": "a*b?",
        "a\\b": "a\\b",
        "'q r'": "q r",
        "новый": "новый",
        "../up": "../up",
    },
    "video": {"false": False, "True": True},
    "mongo_url": {"": "", "None": None, "null": None},
    "learner_args.learning_rate": {"3e-4": 3e-4, "1": 1.0},
    "learner_args.n_step": {"1": 1, "3": 3},
    "planner_args.order": {"fixed": "fixed", "'random'": "random"},
    "planner_args.num_simulations": {"2": 2, "1e1": 10},
    "eval_args.episodes": {"3": 3},
    "env_args.scenario": {"penalty": "penalty"},
}
ODD_NUMBERS = (
    "1e999", "-1e999", "nan", "inf", "²", "٣", "½", "9" * 400, "9" * 5000, "1e30", "-1", "012", "1:30", "1,5", "--5",
    "True", "None", "[]", "{}",
    "''", "", "1+2j", "b'1'", "...", "(" * 200, "-" * 9000 + "1", "{[]: 1}", "1is", "'\\d'", "\x1b[31m1", "1\n2",
    "\udcff",
)  # fmt: skip
WHOLE = (
    "seed",
    "t_max",
    "learner_args.n_step",
    "planner_args.num_simulations",
    "eval_args.episodes",
    "runner_args.num_envs",
    "replay_args.capacity",
)
REAL = (
    "discount",
    "learner_args.learning_rate",
    "max_minutes",
    "checkpoint_args.every_minutes",
    "learner_args.weight_decay",
)
BAD_SETTINGS = (
    ("name=../up", "name"), ("name=/abs", "name"), ("name=..", "name"), ("name=", "name"),
    (f"name={'n' * 300}", "name"), (f"name={'ж' * 150}", "name"), ("name=a\nb", "name"),
    ("name=a\x00b".replace("\x00", "\x7f"), "name"), ("name=\udcff", "name"), ("results_dir=", "results_dir"),
    ("results_dir=a\tb", "results_dir"), (f"results_dir={'r' * 300}", "results_dir"),
    (f"results_dir={'r' * 5000}", "results_dir"), ("results_dir=taken", "results_dir"),
    ("results_dir=taken/below", "results_dir"), ("results_dir=~nobody.at.all/x", "results_dir"), (".seed=5", ".seed"),
    ("seed.=5", "seed."), ("learner_args..n_step=2", "n_step"), ("seed.x=3", "seed.x"), ("=5", "''"), ("seed", "seed"),
    ("", "''"), ("=", "''"), ("learner_args=3", "learner_args"), ("learner_args=", "learner_args"),
    ("planner=sequentail", "sequentail"), ("planner=", "planner"), ("env=None", "env"), ("platform=tpu", "platform"),
    ("video=yes", "video"), ("video=1", "video"), (f"{'k' * 3000}=1", "kkk"), ("seed:3", "seed:3"),
    ("--seed=3", "--seed"), ("-seed=3", "-seed"), ("-max_minutes=1", "-max_minutes"), ("with", "with"),
)  # fmt: skip
BAD_FLAGS = (
    ("-config=mappo", "-config"), ("-cfg=mappo", "-cfg"), ("--confg=mappo", "--confg"), ("--config", "--config"),
    ("--config=", "--config"), ("--checkpoint=600", "--checkpoint"), ("--run=3", "--run"), ("--resume", "--resume"),
    ("--", "--"), ("-", "-"), ("-q", "-q"), ("-uD", "-uD"), ("-l", "loglevel"), ("-l FOO", "FOO"), ("-l 51", "51"),
    ("-l ²", "²"), ("-i 7", "-i"), ("--id=7", "--id"), ("-b x", "-b"), ("-C fd", "-C"), ("-s x", "-s"),
    ("-u -u", "twice"), ("-l INFO -l DEBUG", "twice"), ("--seeds=3", "--seeds"), ("-F", "storage"),
    ("-F taken", "taken"), ("-F taken/x", "taken"), ("-m", "database"), ("--config=./none.yaml", "none.yaml"),
    ("--config=.", "--config"), (f"--config={'c' * 300}", "ccc"), (f"--config=./{'c' * 300}", "ccc"),
    ("--config=mazero_sq", "mazero_seq"), ("--env-config=matrix_gam", "matrix_game"), ("--config=folder/", "folder"),
    ("--unobserved=1", "--unobserved"), ("--config=~nobody.at.all/x.yaml", "nobody"),
)  # fmt: skip
OTHERS = (  # of other commands: words, status, what is named
    ("list", OK, ""), ("list run planner.sequential", OK, ""), ("list planer", REFUSED, "planner"),
    ("list --config=mappo", REFUSED, "--config"),
    ("list with seed=1", REFUSED, "seed"), ("list -u", REFUSED, "-"), ("help", OK, ""), ("--help", OK, ""),
    ("train --help", OK, ""), ("help me", REFUSED, "me"),
    ("trian", REFUSED, "train"), ("trainn with seed=1", REFUSED, "trainn"), ("batch", REFUSED, "--seeds"),
    ("--config=mappo batch", REFUSED, "batch"),
    ("rerun", REFUSED, "--run"), ("rerun --run=3", REFUSED, "3"),
    ("rerun --run=3 --checkpoint=2", REFUSED, "--checkpoint"), ("rerun --resume=3", REFUSED, "--resume"),
    ("train --resume=99", REFUSED, "99"), ("train --resume=²", REFUSED, "²"),
    ("--resume=1 --config=mappo", REFUSED, "--config"),
    ("evaluate", REFUSED, "--run"), ("evaluate --run=7", REFUSED, "7"),
    ("evaluate --run=7 --run=8", REFUSED, "twice"), ("evaluate -run=7", REFUSED, "-run"),
    ("evaluate --run=7 with seed", REFUSED, "seed"), ("show --run=nowhere", REFUSED, "nowhere"),
    ("show --rum=7", REFUSED, "--rum"), ("upload --run=7", REFUSED, "7"),
    ("render --run=7 --episodes=0", REFUSED, "episodes"), ("render --run=7 --episodes=²", REFUSED, "episodes"),
    ("render --run=7 --out=taken/x", REFUSED, "--out"),
    ("render --run=7 --out=none/x", REFUSED, "none"), ("render --run=7 --out=folder", REFUSED, "folder"),
    ("render --run=7 --player=me", REFUSED, "player"),
    ("compare", REFUSED, "RUN"), ("compare 1 --at=nan", REFUSED, "--at"), ("compare 1 --at=inf", REFUSED, "--at"),
    ("compare 1 --threshold=x", REFUSED, "--threshold"),
    ("compare 1 --out=taken", REFUSED, "taken"), ("compare 1 --out=taken/x", REFUSED, "taken"),
    ("compare 1 --out=", REFUSED, "--out"), ("compare 7", REFUSED, "7"),
    ("compare 1 -metric=x", REFUSED, "-metric"), ("compare 1 --x=nope", REFUSED, "--x"),
    ("compare 1 --x=time --x=steps", REFUSED, "twice"), ("compare 1 --", REFUSED, "--"),
    ("compare 1", OK, ""), ("compare 1-3 --x=time --at=-1.5e3 --out=folder/new", OK, ""),
    ("transfer", REFUSED, "--run"), ("transfer --run=7 --sizes=3", REFUSED, "7"),
    ("transfer --run=7 --sizes=3,", REFUSED, "--sizes"),
    ("transfer --run=7 --sizes=3 --episodes=²", REFUSED, "episodes"),
    ("transfer --run=7 --sizes=3 --out=taken", REFUSED, "taken"),
    ("compare results", OK, ""), ("print_dependencies with seed=x", REFUSED, "seed"),
    ("ablation", REFUSED, "FILE"), ("ablation none.yaml", REFUSED, "none.yaml"),
    ("ablation folder", REFUSED, "folder"), (f"ablation {'a' * 300}", REFUSED, "aaa"),
    ("tune", REFUSED, "--space"), ("tune --space=mazro", REFUSED, "mazero"),
    ("tune --space=mazero --samples=0", REFUSED, "--samples"), ("tune --space=folder", REFUSED, "folder"),
    ("tune --space=mazero --samples=99999999999", REFUSED, "--samples"),
    ("tune --space=mazero --grace=nan", REFUSED, "--grace"), (f"tune --space={'s' * 300}", REFUSED, "sss"),
    ("tune --space=mazero --concurrent=²", REFUSED, "--concurrent"), ("tune -space=mazero", REFUSED, "-space"),
    ("tune --space=mazero -u", REFUSED, "-u"),
)  # fmt: skip
SEEDS = {
    **dict.fromkeys(("3", "1,4,7", "2-5", "1,4-6,", "10000"), OK),
    **dict.fromkeys(
        ("0", "", "99999999999", "1-99999999999", "3-1", "²", "-1", "1.5", "x", "9" * 400, "1--2", "10001"), REFUSED
    ),
}
JOBS = {
    **dict.fromkeys(("1", "auto", "999999999"), OK),
    **dict.fromkeys(("0", "²", "-1", "x", "9" * 400, "1.5"), REFUSED),
}
# What is always there: a file where a folder is expected, an empty folder, a recorded run.
THERE = {
    "taken": b"a file",
    "folder/.keep": b"",
    "results/sacred/1/config.json": json.dumps(
        {"name": "alg", "seed": 1, "env": "mpe", "env_args": {"scenario": "x"}}
    ).encode(),
    "results/sacred/1/metrics.json": json.dumps(
        {name: {"steps": [1, 2], "values": [0.0, 1.0]} for name in ("eval/policy/return", "time/training_seconds")}
    ).encode(),
    "results/sacred/1/run.json": b'{"status": "COMPLETED"}',
}


def chosen(rng: random.Random, most: int = 4) -> tuple[list[str], dict[str, Any]]:
    """Return settings as words, some given twice, and what they mean: the last counts."""
    words, meant = [], {}
    for key in rng.choices(list(TRAIN), k=rng.randint(0, most)):
        text, meant[key] = rng.choice(list(TRAIN[key].items()))
        words.append(f"{key}={text}")
    return words, meant


def laid_out(rng: random.Random, settings: list[str], flags: list[list[str]], command: str = "") -> tuple[str, ...]:
    """Return a command line with its flags before and between the settings, in any order."""
    names = [["--config=mazero_seq"], rng.choice([["--env-config=matrix_game"], ["--env-config", "matrix_game"]])]
    given = {flag[0].partition("=")[0] for flag in flags}
    groups = [name for name in names if name[0].partition("=")[0] not in given] + flags
    rng.shuffle(groups)
    cut = rng.randint(0, len(groups)) if settings else len(groups)
    tail = [[word] for word in settings]
    for group in groups[cut:]:
        tail.insert(rng.randint(0, len(tail)), group)
    first = command or rng.choice(["", "train"])
    return tuple(([first] if first else []) + sum(groups[:cut], []) + (["with"] if settings else []) + sum(tail, []))


def good_line(rng: random.Random) -> Case:
    settings, meant = chosen(rng)
    level = rng.choice([["-l", "WARNING"], ["--loglevel=10"], ["-lINFO"]])
    flags = rng.sample([["-u"], level, ["-c", "a text with = in it"], ["-F", "other [v1]"], ["-D"]], rng.randint(0, 2))
    return Case(laid_out(rng, settings, flags, rng.choice(["", "train", "print_config"])), meant=meant)


def typo(rng: random.Random) -> Case:
    settings, _ = chosen(rng)
    key = rng.choice(list(TRAIN))
    place = rng.randrange(1, len(key))
    longer, swapped = key[:place] + "q" + key[place:], key[:place] + key[place + 1 :] + "q"
    wrong = rng.choice([longer, swapped, f"{key}s", f"{key.replace('_', '-')}-", key.upper()])
    return Case(laid_out(rng, [*settings, f"{wrong}=1"], []), REFUSED, (wrong,))


def odd_number(rng: random.Random) -> Case:
    settings, _ = chosen(rng)
    key, number = rng.choice([*WHOLE, *REAL]), rng.choice(ODD_NUMBERS)
    if key in REAL and number == "1e30":
        number = "1e39"
    if number == "-1" and key == "seed":
        number = "1.5"
    settings = [word for word in settings if not word.startswith(f"{key}=")]
    return Case(laid_out(rng, rng.sample([*settings, f"{key}={number}"], len(settings) + 1), []), REFUSED, (key,))


def bad_setting(rng: random.Random) -> Case:
    settings, _ = chosen(rng)
    wrong, named = rng.choice(BAD_SETTINGS)
    settings = [word for word in settings if word.partition("=")[0] != wrong.partition("=")[0]]
    return Case(laid_out(rng, ["discount=1", *settings, wrong], []), REFUSED, (named,))


def bad_flag(rng: random.Random) -> Case:
    settings, _ = chosen(rng)
    wrong, named = rng.choice(BAD_FLAGS)
    words = laid_out(rng, [], [wrong.split(" ")])
    return Case((*words, *(["with", *settings] if settings else [])), REFUSED, (named,))


def other(rng: random.Random) -> Case:
    text, status, named = rng.choice(OTHERS)
    return Case(tuple(text.split(" ")), status, (named,))


def batch(rng: random.Random) -> Case:
    settings, _ = chosen(rng)
    settings = [word for word in settings if not word.startswith("seed=")]
    seeds, jobs = rng.choice(list(SEEDS)), rng.choice(list(JOBS))
    status = max(SEEDS[seeds], JOBS[jobs])
    named = "" if not status else "seeds" if SEEDS[seeds] else "jobs"
    words = ("batch", "--config=mazero_seq", "--env-config=matrix_game", f"--seeds={seeds}", f"--jobs={jobs}")
    return Case((*words, *(["with", *settings] if settings else [])), status, (named,))


def config_file(rng: random.Random) -> Case:
    name = rng.choice(["mine.yaml", "a b [v1].yml", "ж'\".yaml"])
    flag = [rng.choice([f"--config=./{name}", f"--config={name}"])]
    text, meant = odd_files.good_settings(rng)
    good, broken = File(odd_files.encoded(rng, text)), File(rng.choice(BROKEN), (name,))
    found = rng.choice([good, broken, odd_files.bad_settings(rng), odd_files.bad_settings(rng)])
    status = REFUSED if found.named else OK
    words = laid_out(rng, [] if status else ["learner_args.unroll=1"], [flag])
    return Case(
        words, status, found.named, {name: found.content}, {} if status else {"learner_args.unroll": 1, **meant}
    )


def space_file(rng: random.Random) -> Case:
    found = rng.choice(
        [odd_files.space(rng, True), odd_files.space(rng, False), File(rng.choice(BROKEN), ("space.yaml",))]
    )
    words = (
        "tune",
        "--space=space.yaml",
        "--config=mazero_seq",
        "--env-config=matrix_game",
        "with",
        "learner_args.unroll=1",
    )
    return Case(words, REFUSED if found.named else OK, found.named, {"space.yaml": found.content})


def ablation_file(rng: random.Random) -> Case:
    found = rng.choice(
        [odd_files.ablation(rng, True), odd_files.ablation(rng, False), File(rng.choice(BROKEN), ("a b.yaml",))]
    )
    words = ("ablation", "a b.yaml", *rng.sample(["--dry-run", "--jobs=2", "--results-dir=there"], rng.randint(0, 3)))
    return Case(words, REFUSED if found.named else OK, found.named, {"a b.yaml": found.content})


KINDS: tuple[Callable[[random.Random], Case], ...] = (
    good_line, typo, odd_number, bad_setting, bad_flag, other, batch, config_file, space_file, ablation_file,
)  # fmt: skip


def make(seed: int) -> Case:
    """Return the case of a seed; each kind has every so many-th."""
    return KINDS[seed % len(KINDS)](random.Random(seed))

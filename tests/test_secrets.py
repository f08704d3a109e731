"""Passwords in addresses: whatever is typed, wherever, none comes back on the screen or in a file."""

import json
import os
from pathlib import Path

import gridfs
import pytest

from tandem import main
from tandem.commands import preparing
from tandem.config import commandline
from tandem.records import mongo_place

SECRET = "s3cr3t"
PASSWORDS = (SECRET, f"p@ss#{SECRET}/x", f"p%40{SECRET}", f"two {SECRET}")
OPTION = f"mongodb://h/db?tlsCertificateKeyFilePassword={SECRET}"
ADDRESSES = [*(f"mongodb://me:{password}@127.0.0.1:1/db" for password in PASSWORDS), f"me:{SECRET}@h:27017", OPTION]
# U is the address. None of these lines starts anything: they are wrong, or name a server that is not there.
LINES = """
U | list U | help U | train U | --config=U | --env-config=U | --resume=U | rerun --run=U | --mongourl=U | -u U
-umU | -m U | -mU | --mongo_db=U | train --mongo U with seed=1 | with mongo_url=U | with mongo_ulr=U | with seed=U
with learner_args=U | with U | with U=3 | with learner_args.lr=U | with compile_cache_dir= seed=U | -s U | --sql=U
-F | -l U with seed=x | -P U --sql=U
upload --run=U | upload --run=1 --mongourl=U | upload --run=1 U | upload --run=1 -m U | upload --run=1 --mongo_db=U
upload --run=1 --mongo-url U | upload --run=1 --mongo=U
evaluate --run=U | evaluate --run=1 --mongo=U | evaluate U | render --run=U | render --run=1 --episodes=U
show --run=U | show U | show --run=1 -m U
compare U | compare --mongo=U x | compare x -m U | compare x --metric=U --mongo=U | compare x --x=U
compare x --at=U | compare x --mongourl=U
batch --seeds=U | batch --seeds=1 -m U with seed=2 | batch --seeds=1 --mongourl=U | batch --seeds=1 with mongo_ulr=U
batch --jobs=U --seeds=1
tune --space=U | tune --space=lr.yaml with mongo_url=U | tune --space=lr.yaml -m U | tune --space=lr.yaml --metrik=U
tune U
ablation U | ablation a.yaml --seeds=U | ablation a.yaml --mongourl=U | ablation a.yaml U | ablation wrong.yaml
ablation a.yaml --dry-run | ablation broken.yaml
tune --space=broken.yaml | --config=broken.yaml | --config=wrong.yaml | --config=named.yaml | --config=listed.yaml
print_config --config=printed.yaml | print_config with mongo_url=U mongo_optional=true | print_config -m U
save_config with mongo_url=U
print_config -c U | -p print_config with mongo_url=U
"""
FILES = {
    "broken.yaml": "a: [\nmongo_url: {}: {}: [",
    "wrong.yaml": "mongo_ulr: {!r}\nvariants: {!r}",
    "named.yaml": "mongo_url: {!r}",
    "listed.yaml": "mongo_url: [{!r}, 1]",
    "printed.yaml": "mongo_url: {!r}\nlearner: mazero",
    "lr.yaml": "learner_args.learning_rate: {{choice: [0.1, {!r}]}}",
    "a.yaml": "variants: {{a: {{config: mazero_seq}}}}\nenvironments: {{b: {{env_config: matrix_game}}}}\n"
    "seeds: 1\nsettings: {{mongo_url: {!r}}}",
}


def call(words: list[str]) -> int:
    """Return the exit status of a command line."""
    try:
        return main.main(words)
    except SystemExit as end:  # --help, and the parser of a library
        return int(end.code or 0)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder to work in, whatever `main` changes of the environment put back."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(mongo_place, "SECONDS_TO_ANSWER", 0.1)
    for name in ("XLA_FLAGS", "TANDEM_MONGO_URL", "TF_CPP_MIN_LOG_LEVEL"):
        monkeypatch.setenv(name, os.environ.get(name, ""))
    return tmp_path


def left(folder: Path) -> list[Path]:
    """Return the files with a secret in them, apart from those that the test itself wrote."""
    written = [path for path in folder.rglob("*") if path.is_file() and path.name not in FILES]
    return [path for path in written if SECRET in path.read_text(errors="ignore")]


@pytest.mark.jaxmarl
@pytest.mark.parametrize("line", LINES.strip().replace("\n", " | ").split(" | "))
def test_no_command_line_brings_a_password_back(line, folder, capfd, monkeypatch):
    monkeypatch.setattr(main.sys, "argv", ["main.py", *line.split()])
    for address in ADDRESSES:
        for name, text in FILES.items():
            Path(name).write_text(text.format(*[address] * text.count("{")))
        words = [word.replace("U", address) if word.endswith("U") or "U=" in word else word for word in line.split()]
        status = call(words)
        said = "".join(capfd.readouterr())
        assert SECRET not in said and not left(folder), (address, said)
        assert status == 0 or said.strip(), address


@pytest.fixture
def record(folder):
    """A finished run as earlier versions recorded it, with secrets in its files."""
    record = folder / "results" / "sacred" / "1"
    record.mkdir(parents=True)
    (record / "config.json").write_text(json.dumps({"seed": 1, "mongo_url": OPTION}))
    entry = {"experiment": {}, "status": "COMPLETED", "start_time": "2026-01-01T00:00:00"}
    entry |= {"meta": {"options": {"UPDATE": [f"mongo_url={OPTION}"], "--comment": ADDRESSES[1]}}}
    (record / "run.json").write_text(json.dumps(entry | {"artifacts": ["provenance.json", "diff.patch"]}))
    (record / "provenance.json").write_text(json.dumps({"command": ["main.py", "-m", *ADDRESSES, "a@b"]}))
    (record / "diff.patch").write_text(f"+mongo_url: {ADDRESSES[2]}\n")
    (record / "cout.txt").write_text(f"connecting to {ADDRESSES[3]}\n")
    return record


@pytest.mark.parametrize("line", ["train", "upload --run=1", "compare x --mongo"])
def test_no_variable_brings_a_password_back(line, record, capfd, monkeypatch):
    for address in ADDRESSES:
        monkeypatch.setenv("TANDEM_MONGO_URL", address)
        (record / "config.json").write_text(json.dumps({"seed": 1}))
        assert call(line.split()) != main.OK
        said = "".join(capfd.readouterr())
        assert said.strip() and SECRET not in said


def test_a_record_with_secrets_is_uploaded_without_them(record, mongod, database, capfd):
    assert call(["upload", "--run=1", "-m", mongod.url(database.name)]) == main.OK
    rows = [repr(one) for name in database.list_collection_names() for one in database[name].find()]
    held = {one["filename"].rpartition("/")[2]: one["_id"] for one in database["fs.files"].find()}
    files = {name: gridfs.GridFS(database).get(key).read() for name, key in held.items()}
    assert set(files) == {"config.json", "provenance.json", "diff.patch"} and len(rows) > 6
    assert not [one for one in (*rows, *map(repr, files.values()), *capfd.readouterr()) if SECRET in one]
    command = json.loads(files["provenance.json"])["command"]
    assert command[1:3] == ["-m", "mongodb://***@127.0.0.1:1/db"] and command[-1] == "a@b"


def test_a_sweep_takes_no_password_because_it_keeps_the_words_of_its_trials():
    from tandem.commands import tune

    with pytest.raises(commandline.UsageError, match="put an address with a password into TANDEM_MONGO_URL"):
        tune.read(["--space=mazero", "with", f"mongo_url={ADDRESSES[0]}"])
    assert tune.read(["--space=mazero", "with", "mongo_url=mongodb://127.0.0.1:27017/db"])


def test_what_sacred_stores_is_hidden_and_a_flag_that_needs_the_secret_is_refused():
    class Source:
        repo = f"https://me:{SECRET}@example.org/tandem.git"

    class Experiment:
        sources = [Source()]

    url = f"mongodb://me:{SECRET}@h/db"
    store = f"postgresql://me:{SECRET}@h/runs"
    config = {"mongo_url": url, "mlflow_uri": store}
    options = {
        "UPDATE": [f"mongo_url={url}", "seed=3", f"mlflow_uri={store}"],
        "--comment": f"see {url}",
        "--pdb": False,
    }
    place = preparing.choose_mongo(commandline.parse(["print_config", "-m", url], ("print_config",)))
    main.hide_credentials(Experiment, place, config, options)
    assert SECRET not in repr((config, options, Experiment.sources[0].repo)) and options["UPDATE"][1] == "seed=3"
    with pytest.raises(commandline.UsageError, match="--sql=postgresql://.*with the run; use --mongo=URL") as error:
        main.hide_credentials(Experiment, place, config, {"--sql": f"postgresql://me:{SECRET}@h/db"})
    assert SECRET not in str(error.value)

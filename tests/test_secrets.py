"""Passwords in addresses: whatever is typed, wherever, none comes back on the screen or in a file."""

import json
import os
from pathlib import Path

import pytest

from src import main
from src.config import commandline
from src.recording import mongo_place

SECRET = "s3cr3t"
PASSWORDS = (SECRET, f"p@ss#{SECRET}/x", f"p%40{SECRET}", f"two {SECRET}")
OPTION = f"mongodb://h/db?tlsCertificateKeyFilePassword={SECRET}"
ADDRESSES = [*(f"mongodb://me:{password}@127.0.0.1:1/db" for password in PASSWORDS), f"me:{SECRET}@h:27017", OPTION]
# U is the address. None of these lines starts anything: they are wrong, or name a server that is not there.
LINES = """
U | list U | help U | train U | --config=U | --env-config=U | --resume=U | rerun --run=U | --mongourl=U | -u U | -umU
-m U | -mU | --mongo_db=U | train --mongo U with seed=1 | with mongo_url=U | with mongo_ulr=U | with seed=U | with learner_args=U
with U | with U=3 | with learner_args.lr=U | with compile_cache_dir= seed=U | -s U | --sql=U | -F | -l U with seed=x | -P U --sql=U
upload --run=U | upload --run=1 --mongourl=U | upload --run=1 U | upload --run=1 -m U | upload --run=1 --mongo_db=U | upload --run=1 --mongo-url U
evaluate --run=U | evaluate --run=1 --mongo=U | evaluate U | render --run=U | render --run=1 --episodes=U | show --run=U | show U | show --run=1 -m U
compare U | compare --mongo=U x | compare x -m U | compare x --metric=U --mongo=U | compare x --x=U | compare x --at=U | compare x --mongourl=U
batch --seeds=U | batch --seeds=1 -m U with seed=2 | batch --seeds=1 --mongourl=U | batch --seeds=1 with mongo_ulr=U | batch --jobs=U --seeds=1
tune --space=U | tune --space=lr.yaml with mongo_url=U | tune --space=lr.yaml -m U | tune --space=lr.yaml --metrik=U | tune U
ablation U | ablation a.yaml --seeds=U | ablation a.yaml --mongourl=U | ablation a.yaml U | ablation wrong.yaml | ablation a.yaml --dry-run
ablation broken.yaml | tune --space=broken.yaml
--config=broken.yaml | --config=wrong.yaml | --config=named.yaml | --config=listed.yaml | print_config --config=printed.yaml
print_config with mongo_url=U mongo_optional=true | print_config -m U | save_config with mongo_url=U | print_config -c U | -p print_config with mongo_url=U
"""
FILES = {
    "broken.yaml": "a: [\nmongo_url: {}: {}: [",
    "wrong.yaml": "mongo_ulr: {!r}\nvariants: {!r}",
    "named.yaml": "mongo_url: {!r}",
    "listed.yaml": "mongo_url: [{!r}, 1]",
    "printed.yaml": "mongo_url: {!r}\nlearner: mazero",
    "lr.yaml": "learner_args.learning_rate: {{choice: [0.1, {!r}]}}",
    "a.yaml": "variants: {{a: {{config: mazero_seq}}}}\nenvironments: {{b: {{env-config: matrix_game}}}}\nseeds: 1\nsettings: {{mongo_url: {!r}}}",
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


@pytest.mark.parametrize("line", [line.strip() for text in LINES.strip().splitlines() for line in text.split("|")])
def test_no_command_line_brings_a_password_back(line, folder, capfd, monkeypatch):
    monkeypatch.setattr(main.sys, "argv", ["main.py", *line.split()])
    for address in ADDRESSES:
        for name, text in FILES.items():
            Path(name).write_text(text.format(*[address] * text.count("{")))
        status = call([word.replace("U", address) if word.endswith("U") or "U=" in word else word for word in line.split()])
        said = "".join(capfd.readouterr())
        left = [path for path in folder.rglob("*") if path.is_file() and path.name not in FILES and SECRET in path.read_text(errors="ignore")]
        assert SECRET not in said and not left, (address, said, left)
        assert status == 0 or said.strip(), address


@pytest.mark.parametrize("address", ADDRESSES)
@pytest.mark.parametrize("line", ["", "print_config", "upload --run=1", "compare --mongo x"])
def test_no_variable_brings_a_password_back(line, address, folder, capfd, monkeypatch):
    monkeypatch.setenv("TANDEM_MONGO_URL", address)
    record = folder / "results" / "sacred" / "1"
    record.mkdir(parents=True)
    (record / "config.json").write_text(json.dumps({"seed": 1}))
    (record / "run.json").write_text(json.dumps({"experiment": {}, "status": "COMPLETED"}))
    assert call(line.split()) == (main.OK if line == "print_config" and address.startswith("mongodb://me:p%") else call(line.split()))
    assert SECRET not in "".join(capfd.readouterr())


def test_what_sacred_stores_is_hidden_and_a_flag_that_needs_the_secret_is_refused():
    class Source:
        repo = f"https://me:{SECRET}@example.org/tandem.git"

    class Experiment:
        sources = [Source()]

    url = f"mongodb://me:{SECRET}@h/db"
    config, options = {"mongo_url": url}, {"UPDATE": [f"mongo_url={url}", "seed=3"], "--comment": f"see {url}", "--pdb": False}
    place = main.choose_mongo(commandline.parse(["print_config", "-m", url], ("print_config",)))
    main.hide_credentials(Experiment, place, config, options)
    assert SECRET not in repr((config, options, Experiment.sources[0].repo)) and options["UPDATE"][1] == "seed=3"
    with pytest.raises(commandline.UsageError, match="--sql=postgresql://.*with the run; use -m URL") as error:
        main.hide_credentials(Experiment, place, config, {"--sql": f"postgresql://me:{SECRET}@h/db"})
    assert SECRET not in str(error.value)

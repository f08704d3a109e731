"""`export --run=RUN --format=FORMAT`: writes a run's decentralised policy to a file that works without Tandem."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from tandem import playing
from tandem.commands import arguments, flags, restoring
from tandem.config.commandline import UsageError
from tandem.exports import card, function
from tandem.exports.formats import FORMATS
from tandem.exports.onnx_graph import Untranslated
from tandem.records.places import replace_file
from tandem.registry import suggestion
from tandem.restored import Restored

DESCRIPTION = """Write the decentralised policy, by which each agent acts without search, and its description FILE.json.

formats:
  stablehlo   a compiled program of any batch size; jax.export.deserialize reads it
  onnx        a model of any batch size, for onnxruntime and others; needs the package onnx
  npz         the parameters by name, without a program; numpy.load reads them

examples:
  python src/main.py export --run=3 --format=onnx
  python src/main.py export --run=3 --format=stablehlo --checkpoint=last --out=team.stablehlo"""


def main(words: Sequence[str]) -> int:
    """Write the file and its card, and say where they are; return the exit status."""
    options, updates = _parser().read(words)
    run = arguments.find(options.run, updates)
    restored = restoring.restored(run, options.checkpoint, flags.settings(updates))
    path = Path(options.out or run.folder / f"policy-{restored.step}.{options.format}")
    text = _write(restored, run.id, options.format, path)
    said = json.loads(text)
    for kind in ("inputs", "outputs"):
        print(f"{kind}: " + ", ".join(f"{port['name']} {port['dtype']}{port['shape']}" for port in said[kind]))
    print(f"written: {path} and {path.name}.json")
    return 0


def _write(restored: Restored, run_id: str, form: str, path: Path) -> str:
    """Write a policy's file and its card, and return the card's text.

    Raises:
      UsageError: there is no such policy, it does not exist in this format, or the file cannot be written.
    """
    try:
        policy = playing.of(restored, f"run {run_id}")
        made = function.make(policy.alone, policy.params, policy.spec)
        content = FORMATS[form](made, policy.params)
    except Untranslated as error:
        raise UsageError(f"export: {error}") from None
    except ValueError as error:
        raise UsageError(f"export: {error}") from error
    text = card.make(made, policy.spec, restored.config, run_id, restored.step, form)
    try:
        replace_file(path, content)
        replace_file(path.with_name(f"{path.name}.json"), text)
    except OSError as error:
        raise UsageError(f"export: {path} cannot be written ({error.strerror})") from None
    return text


def _parser() -> flags.Parser:
    parser = flags.parser("export", DESCRIPTION)
    parser.take("--run")
    parser.take("--checkpoint", default="best")
    parser.add_argument("--format", metavar="|".join(FORMATS), required=True, type=_format, help="format of the file")
    parser.take("--out", metavar="FILE", type=flags.out_file, help="the file; default: policy-STEP.FORMAT with the run")
    return parser


def _format(text: str) -> str:
    if text in FORMATS:
        return text
    raise argparse.ArgumentTypeError(f"no format '{text}'; {suggestion(text, FORMATS)}")

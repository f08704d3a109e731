"""The words that can stand first on the command line."""

COMMANDS = ("train", "rerun", "list", "help", "print_config", "print_dependencies", "save_config")
# Commands that record no run of their own. Each is a module with its own flags and
# `main(words) -> exit status`.
TOOLS: dict[str, str] = {
    "evaluate": "tandem.commands.evaluate",
    "transfer": "tandem.commands.transfer",
    "render": "tandem.commands.render",
    "show": "tandem.commands.show",
    "upload": "tandem.commands.upload",
    "batch": "tandem.commands.batch",
    "compare": "tandem.commands.compare",
    "tune": "tandem.commands.tune",
    "ablation": "tandem.commands.ablation",
    "zoo": "tandem.commands.zoo",
    "export": "tandem.commands.export",
    "record": "tandem.commands.record",
    "dataset": "tandem.commands.dataset",
    "completion": "tandem.commands.completion",
}
READERS = {"show", "upload", "compare", "completion"}  # they compute nothing, so no memory is checked for JAX

"""The words that can stand first on the command line."""

COMMANDS = ("train", "rerun", "list", "help", "print_config", "print_dependencies", "save_config")
# Commands on recorded runs: each a module with its own flags and `main(words) -> exit status`;
# no run of theirs is recorded.
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
READERS = {"show", "upload", "compare", "completion"}  # which compute nothing: room for JAX is not asked for

"""What commands on recorded runs read from the command line."""

from src.commands import arguments
from src.config import commandline


def test_of_a_results_folder_typed_twice_the_last_counts():
    updates = commandline.updates(["results_dir=a", "seed=3", "results_dir=b"])
    assert arguments.results_dir(updates) == "b" and arguments.results_dir(updates[1:2]) == "results"

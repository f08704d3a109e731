"""Settings that say where and how a run is recorded, and nothing of what it computes: one list for all who ask."""

from tandem.analysis.identity import essence
from tandem.experiments import search_space
from tandem.config import loader, schema
from tandem.records import record
from tandem.records.curves import flat


def test_settings_that_do_not_decide_are_the_same_for_all_who_ask():
    """A record's identity, its curves' settings, what a resumed run may change and what a sweep may not search for."""
    kept = {"results_dir", "compile_cache_dir", "mongo_url", "mongo_optional", "video", "on_nan", "checkpoint_args"}
    kept |= {"wandb_project", "mlflow_uri"}
    config = loader.load("mazero_seq", "matrix_game")
    assert set(schema.bookkeeping()) == kept <= set(config)
    decisive = {key for key in config if key not in kept}
    for settings in (essence(config), flat(config)):
        assert {key.partition(".")[0] for key in settings} == decisive
    assert set(record.decisive(config)) == decisive - {"t_max", "max_minutes"}
    assert {key for key in config if search_space.fixed(key)} == kept and search_space.fixed(
        "checkpoint_args.keep_last"
    )

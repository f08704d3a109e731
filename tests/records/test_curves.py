"""What a run's TensorBoard folder holds beside its curves."""

import os
import signal
from pathlib import Path

import numpy as np
import pytest
import yaml
from sacred import SETTINGS
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.hparams import plugin_data_pb2

from tandem.records import provenance
from tandem.records.curves import Curves, add_image, layout
from tandem.records.record import Resume
from tests.reference.fake_runs import CONFIG, recorded, reports

START, END = "_hparams_/session_start_info", "_hparams_/session_end_info"


@pytest.fixture(autouse=True)
def without_capture(monkeypatch):
    monkeypatch.setattr(SETTINGS, "CAPTURE_MODE", "no")


def curves(folder: Path) -> EventAccumulator:
    """Return what TensorBoard reads of the one run under a folder."""
    (run,) = (folder / "tb_logs" / "world" / "valley" / "alg").iterdir()
    return EventAccumulator(str(run), size_guidance={"tensors": 0, "histograms": 0}).Reload()


def hparams(folder: Path) -> dict[str, plugin_data_pb2.HParamsPluginData]:
    found = curves(folder).PluginTagToContent("hparams")
    return {tag: plugin_data_pb2.HParamsPluginData.FromString(content) for tag, content in found.items()}


def newest_layout(folder: Path) -> dict[str, dict[str, list[str]]]:
    """Return {category: {chart: its patterns}}."""
    *_, event = curves(folder).Tensors("custom_scalars__config__")
    parsed = layout_pb2.Layout.FromString(event.tensor_proto.string_val[0])
    return {one.title: {chart.title: list(chart.multiline.tag) for chart in one.chart} for one in parsed.category}


def test_settings_are_the_runs_own_in_the_hparams_tab_under_flat_names_without_those_of_records(tmp_path):
    recorded(
        tmp_path, reports(150), planner_args={"num_simulations": 16, "gumbel": True, "depth": None, "sizes": [1, 2]}
    )
    found = hparams(tmp_path)
    settings = found[START].session_start_info.hparams
    assert settings["planner_args.num_simulations"].number_value == 16.0
    assert settings["planner_args.gumbel"].bool_value is True
    assert (
        settings["planner_args.depth"].string_value == "None"
        and settings["planner_args.sizes"].string_value == "[1, 2]"
    )
    assert settings["name"].string_value == "alg" and settings["env_args.scenario"].string_value == "valley"
    assert not {"results_dir", "checkpoint_args.keep_last"} & set(settings)
    assert found[END].session_end_info.status == 1  # success
    assert curves(tmp_path).Scalars("eval/main/return")[-1].value == -40.0  # the tab shows last values


def test_the_configuration_is_there_as_text(tmp_path):
    recorded(tmp_path, reports(60))
    (event,) = curves(tmp_path).Tensors("config")
    text = event.tensor_proto.string_val[0].decode()
    assert text.startswith("```yaml\n") and text.endswith("\n```")
    assert yaml.safe_load(text.removeprefix("```yaml").removesuffix("```")) == CONFIG | {"results_dir": str(tmp_path)}


def test_the_layout_puts_the_returns_first_and_leaves_out_what_the_run_does_not_have(tmp_path):
    recorded(tmp_path, reports(150))
    found = newest_layout(tmp_path)
    assert list(found) == ["Team return"]
    assert list(found["Team return"].values()) == [["^eval/main/return$"], ["^eval/policy/return$"], ["^train/return$"]]
    full = layout(
        ["time/steps_per_second", "train/loss", "eval/policy/won", "eval/policy/length", "eval/policy/return"]
    )
    assert list(full) == ["Team return", "What the environment counts", "Losses", "Speed"]
    assert full["What the environment counts"] == {"policy/won": "eval/policy/won"}


def test_distributions_are_written_where_a_report_has_them_and_survive_what_is_not_a_number(tmp_path):
    recorded(tmp_path, reports(150))
    first, second = curves(tmp_path).Histograms("histograms/policy_entropy/agent_0")
    assert (first.step, second.step) == (60, 120)
    value = second.histogram_value
    assert (value.num, value.min, value.max) == (11, 0.0, 121.0) and value.sum == pytest.approx(11 * 60.5)
    odd = Curves(tmp_path / "odd", CONFIG)
    for values in ([np.nan, 1.0, np.inf], [np.nan], []):
        odd.write(next(iter(reports(30)(1)))[0]._replace(histograms={"x": np.array(values)}))
    odd.flush()
    (event,) = EventAccumulator(str(tmp_path / "odd")).Reload().Histograms("x")
    assert (event.histogram_value.num, event.histogram_value.max) == (1, 1.0)


def test_pictures_can_be_added(tmp_path):
    picture = np.random.default_rng(1).integers(0, 256, (7, 11, 3), dtype=np.uint8)
    Curves(tmp_path / "run", CONFIG).flush()
    add_image(tmp_path / "run", "films/episode", picture, 30)
    (event,) = EventAccumulator(str(tmp_path / "run")).Reload().Images("films/episode")
    assert (event.step, event.width, event.height) == (30, 11, 7)


def test_a_run_that_goes_on_has_one_set_of_curves_and_ends_only_when_it_is_over(tmp_path):
    stop = reports(300, lambda at: os.kill(os.getpid(), signal.SIGTERM) if at == 180 else None)
    with pytest.raises(KeyboardInterrupt):
        recorded(tmp_path, stop)
    assert set(hparams(tmp_path)) == {START}  # it may go on
    before = provenance.read(tmp_path / "sacred" / "1")["curves"]
    resume = Resume("1", 60, {"step": np.int32(60)}, {}, before)  # what came after 60 is made anew
    recorded(tmp_path, reports(300), resume=resume)
    assert set(hparams(tmp_path)) == {START, END}
    assert [event.step for event in curves(tmp_path).Scalars("train/return")] == list(range(30, 301, 30))
    again = curves(tmp_path).Histograms("histograms/policy_entropy/agent_0")
    assert [event.step for event in again] == [60, 120, 180, 240, 300]
    assert [event.step for event in curves(tmp_path).Tensors("config")] == [0, 60]

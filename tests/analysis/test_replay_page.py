"""The replay page: what its data say of episodes, and what a real browser draws of it."""

import json
import re
from collections.abc import Iterator
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tandem.analysis import replay_page
from tandem.analysis.episodes import Episode, make_player
from tandem.analysis.opinions import make_watcher
from tandem.core import LearnerState, Plan, Planner, PolicyExtras, SearchExtras
from tandem.envs import switch_riddle
from tandem.scene import Box, Disc, Drawing, Line, Scene
from tests.reference.browser import opened, started

COLOURS = {"agent 0": "#0072b2", "agent 1": "#e69f00"}
NAMES = ("left </script>", "stay", "jump")


def scene(state, action) -> Scene:
    """A field, a mark of where the state is, and for each agent a disc that stands at its own height."""
    discs = tuple(Disc(float(state), 1.0 + i, 0.4, i, str(i), health=0.5 if i else None) for i in range(2))
    push = () if action is None else (Line((0.0, 0.0), (1.0, 1.0), 0),)
    return Scene((Box(0, 0, 4, 3, "paper", "field"), *push, *discs), (0.0, 0.0, 4.0, 3.0), f"at {state}")


DRAWING = Drawing(agents=("agent 0", "agent 1"), actions=(NAMES, NAMES[:2]), scene=scene)


def episode(length: int = 4) -> Episode:
    """An episode in which agent 1 has two actions and is dead at the end; rewards are 1, 2, 3, ..."""
    legal = np.ones((length, 2, 3), bool)
    legal[:, 1, 2] = False
    policy = np.tile([[0.25, 0.5, 0.25], [0.9, 0.1, 0.0]], (length, 1, 1))
    network = np.tile([[0.1, 0.2, 0.7], [0.6, 0.4, 0.0]], (length, 1, 1))
    alive = np.ones((length + 1, 2), bool)
    alive[-1, 1] = False
    return Episode(
        states=[np.float64(i) for i in range(length + 1)], action=np.tile([1, 0], (length, 1)), policy=policy,
        legal=legal, alive=alive, reward=np.arange(1.0, length + 1), metrics={"all_won": 1.0}, network=network,
        value=np.linspace(2.0, 8.0, length)[:, None], search_value=np.linspace(3.0, 9.0, length),
    )  # fmt: skip


@pytest.fixture(scope="module")
def shown(tmp_path_factory) -> Iterator:
    """The page of two episodes in a browser, and the addresses that it asked for."""
    document = replay_page.describe(
        DRAWING, [episode(), episode(7)._replace(cut_off=True)], "two <b>bold</b> & games", "search", 0.5
    )
    path = replay_page.write(document, tmp_path_factory.mktemp("page") / "a page.html")
    with started() as browser, opened(browser) as page:
        asked, complaints = [], []
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(path.as_uri())
        yield SimpleNamespace(page=page, asked=asked, complaints=complaints, path=path)


@pytest.fixture
def page(shown) -> Iterator:
    """The page as it is at first."""
    shown.page.locator("#episodes button").first.click()
    return shown.page


def move_to(page, step: int) -> None:
    """Move the slider as a hand does: set it, and let the page hear of it."""
    slider = page.locator("#step")
    slider.evaluate(f"slider => {{ slider.value = {step}; slider.dispatchEvent(new Event('input')); }}")


def centres(page) -> dict[str, tuple[float, float]]:
    """Return the centres of the discs of agents by colour, in the drawing's pixels."""
    found = page.locator("#scene circle").evaluate_all(
        "all => all.map(c => [c.getAttribute('fill'), +c.getAttribute('cx'), +c.getAttribute('cy')])"
    )
    return {colour: (x, y) for colour, x, y in found}


def widths(page, agent: int, kind: str) -> list[float]:
    """Return the widths of an agent's bars as shares of their tracks."""
    return page.locator(f"#agent{agent} .{kind}").evaluate_all(
        "all => all.map(bar => bar.getBoundingClientRect().width / bar.parentElement.getBoundingClientRect().width)"
    )


def test_the_slider_moves_the_scene_the_score_and_the_values(page):
    first = centres(page)
    assert set(first) == set(COLOURS.values()) and page.locator("#earned").inner_text() == "0.00"
    move_to(page, 2)
    moved = centres(page)
    scale = (640 - 2 * 14) / 4.0  # of the wider side of the bounds
    for colour in COLOURS.values():
        assert moved[colour][0] - first[colour][0] == pytest.approx(2 * scale)
        assert moved[colour][1] == pytest.approx(first[colour][1])
    assert first[COLOURS["agent 0"]][1] - first[COLOURS["agent 1"]][1] == pytest.approx(scale)  # upwards
    assert page.locator("#earned").inner_text() == "3.00" and page.locator("#place").inner_text() == "2 of 4"
    legend = [page.locator(f"#curve{i}").inner_text() for i in range(3)]
    assert legend == ["6.00", "7.00", f"{3 + 4 / 2:.2f}"]  # network, search, and 3 + 0.5 * 4 that came
    assert page.locator("#caption").inner_text() == "at 2.0"


def test_each_agent_shows_the_searchs_policy_against_the_networks(page):
    assert widths(page, 0, "played") == pytest.approx([0.25, 0.5, 0.25], abs=0.01)
    assert widths(page, 0, "network") == pytest.approx([0.1, 0.2, 0.7], abs=0.01)
    assert widths(page, 1, "played") == pytest.approx([0.9, 0.1], abs=0.01)  # without the action that it never has
    assert page.locator("#agent0 .name").all_inner_texts() == list(NAMES)
    assert page.locator("#agent0 .does").inner_text() == "stay"
    assert page.locator("#agent0 .differs").inner_text() == "alone: jump"  # where the search plays something else
    assert page.locator("#agent1 .differs").inner_text() == ""
    assert "search" in page.locator("#key").inner_text() and "network" in page.locator("#key").inner_text()


def test_the_end_shows_the_measures_and_who_is_dead(page):
    move_to(page, 4)
    assert "all won 1.00" in page.locator("#caption").inner_text() and page.locator("#earned").inner_text() == "10.00"
    assert page.locator("#agent1").get_attribute("class").split()[-1] == "dead"
    assert page.locator("#scene line").count() == 0  # nobody pushes any more
    assert sum(widths(page, 0, "played")) == 0.0


def test_it_plays_by_itself_to_the_end_and_begins_again(page):
    page.locator("#speed").select_option("very fast")
    for _ in range(2):  # at its end it begins anew
        page.locator("#play").click()
        page.locator("#place", has_text="4 of 4").wait_for()
        page.locator("#play[aria-label=play]").wait_for()


def test_keys_the_chart_and_the_buttons_of_episodes_move_as_well(page):
    page.locator("#title").click()
    page.keyboard.press("ArrowRight")
    assert page.locator("#place").inner_text() == "1 of 4"
    page.keyboard.press("End")
    assert page.locator("#place").inner_text() == "4 of 4"
    assert "time limit" not in page.locator("#legend").inner_text()
    page.locator("#episodes button").nth(1).click()
    assert "came up to the time limit" in page.locator("#legend").inner_text()  # beyond which values look
    assert page.locator("#place").inner_text() == "0 of 7" and page.locator("#step").get_attribute("max") == "7"
    box = page.locator("#chart").bounding_box()
    page.mouse.click(box["x"] + box["width"] / 2 + 2, box["y"] + box["height"] / 2)
    assert page.locator("#place").inner_text() in ("3 of 7", "4 of 7")


def test_the_page_loads_nothing_and_takes_names_for_text(shown):
    assert shown.asked == [shown.path.as_uri()] and shown.complaints == []
    assert shown.page.locator("#title").inner_text() == "two <b>bold</b> & games"
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", shown.path.read_text())


def test_what_came_is_discounted_and_long_episodes_are_thinned():
    document = replay_page.describe(DRAWING, [episode(4)], "t", "policy", 0.5)
    assert document["episodes"][0]["toGo"] == [1 + 2 / 2 + 3 / 4 + 4 / 8, 2 + 3 / 2 + 4 / 4, 3 + 4 / 2, 4.0]
    assert not document["searches"]
    long = replay_page.describe(DRAWING, [episode(4000)], "t", "policy", 0.5)["episodes"][0]
    assert long["steps"][:3] == [0, 3, 6] and long["steps"][-1] == 4000 and len(long["frames"]) == len(long["steps"])
    assert len(long["policy"]) == len(long["toGo"]) == len(long["steps"]) - 1 and long["earned"][1] == 1 + 2 + 3


def test_numbers_that_are_not_finite_do_not_break_the_page():
    broken = episode()._replace(value=np.full((4, 1), np.nan), metrics={"odd": float("inf")})
    text = replay_page.page(replay_page.describe(DRAWING, [broken], "t", "search", 0.9))
    data = json.loads(re.search(r'<script id="data"[^>]*>(.*?)</script>', text, re.S)[1])
    assert data["episodes"][0]["value"][0] == [None] and data["episodes"][0]["end"] == {"odd": None}


def test_an_environments_own_pictures_stand_in_the_page():
    pictures = [np.full((8, 12, 3), i, np.uint8) for i in range(5)]
    frames = replay_page.describe(None, [episode()._replace(states=pictures)], "t", "policy", 0.9)["episodes"][0]
    assert frames["bounds"] == [0.0, 0.0, 12.0, 8.0]
    assert all(frame["picture"].startswith("data:image/webp;base64,") for frame in frames["frames"])


def planner_of(extras) -> Planner:
    """Return a planner that plays action 0 and leaves extras of the observations."""

    def plan(params, carry, timestep, key, explore, progress):
        return carry + 1, Plan(action=jnp.zeros(timestep.obs.shape[:2], jnp.int32), extras=extras(params, timestep))

    return Planner(init=lambda batch: jnp.zeros(batch), plan=plan, plays="search")


def test_opinions_are_those_of_the_network_on_the_steps_that_are_played():
    env = switch_riddle.make(switch_riddle.Config(num_agents=3))
    size = env.spec.actions.size

    def searched(params, timestep):
        batch, agents = timestep.obs.shape[:2]
        uniform = jnp.full((batch, agents, size), 1 / size)
        none = jnp.zeros((batch, agents), jnp.int32)
        return SearchExtras(policy=uniform, value=jnp.full(batch, 7.0), rank=none, committed=none)

    def alone(params, timestep):
        policy = jax.nn.softmax(params["weight"] * timestep.obs[..., :1] * jnp.arange(float(size))[None, None], -1)
        return PolicyExtras(log_prob=policy[..., 0], policy=policy, entropy=policy[..., 0])

    def value(params, memory, obs, state, first):
        return memory + 1, params["bias"] + jnp.sum(obs, -1) + memory[:, None, None]

    face = SimpleNamespace(memory=lambda batch: jnp.zeros(batch), value=value, values_by_agent=True)
    params = {"weight": jnp.float32(2.0), "bias": jnp.float32(0.5)}
    state = LearnerState(params=params, target=(), opt=(), step=(), stats=jnp.float32(10.0))
    model = SimpleNamespace(actor_critic=face)
    watcher = make_watcher(model, state, params, planner_of(alone), lambda stats, values: stats * values)
    found = make_player(env, planner_of(searched), 2, watcher=watcher)(params, jax.random.key(3))
    plain = make_player(env, planner_of(searched), 2)(params, jax.random.key(3))
    for one, without in zip(found, plain, strict=True):
        np.testing.assert_array_equal(one.reward, without.reward)  # who looks changes nothing
        assert without.value is None and without.network is None and without.search_value is None
        length = len(one.reward)
        assert one.value.shape == (length, 3) and one.network.shape == (length, 3, size)
        np.testing.assert_allclose(one.search_value, 70.0)
        np.testing.assert_allclose(one.network.sum(-1), 1.0, rtol=1e-5)
        obs = np.log(one.network[..., 1] / one.network[..., 0]) / 2.0  # what the policy has seen
        assert (np.abs(obs) <= 1.0 + 1e-4).all()
        steps = 10.0 * np.arange(length)  # what the critic's memory adds
        assert ((one.value - 5.0 - steps[:, None]) >= 10.0 * obs - 1e-3).all()

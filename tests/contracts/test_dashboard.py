"""The Grafana dashboard's file: Grafana's own rules, as far as a test can know them."""

import json
from itertools import combinations

import pytest

from contracts.render import CHART

DASHBOARD = json.loads((CHART / "files" / "dashboard.json").read_text())
PANELS = DASHBOARD["panels"]


def test_panels_have_a_number_of_their_own_and_a_description() -> None:
    """Grafana drops one of two panels with one number."""
    numbers = [panel["id"] for panel in PANELS]
    assert len(set(numbers)) == len(numbers)
    assert all(panel["description"].endswith(".") for panel in PANELS if panel["type"] != "row")


def test_panels_lie_side_by_side() -> None:
    """No two overlap, and none is wider than the page."""
    places = [panel["gridPos"] for panel in PANELS]
    assert all(place["x"] + place["w"] <= 24 for place in places)
    for one, other in combinations(places, 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        below = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert beside or below, (one, other)


@pytest.mark.parametrize("panel", [each for each in PANELS if each["type"] != "row"], ids=lambda each: each["title"])
def test_panel_takes_the_data_source_that_is_chosen(panel: dict[str, object]) -> None:
    """Nobody's data source has the uid of somebody else's."""
    chosen = {"type": "prometheus", "uid": "${datasource}"}
    targets = panel["targets"]
    assert isinstance(targets, list)
    assert [each["datasource"] for each in targets] == [chosen] * len(targets)
    assert panel["datasource"] == chosen
    assert DASHBOARD["templating"]["list"][0]["name"] == "datasource"

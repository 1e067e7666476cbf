"""What an event's properties become, where no other test comes by."""

from __future__ import annotations

import pytest
from misoflow import Search
from misoflow_mixpanel import Mixpanel
from misoflow_mixpanel.config import MixpanelConfig
from misoflow_mixpanel.rows import event_of


@pytest.mark.parametrize(
    "filters",
    [
        {"color": ["red"], "first_name": "Jane", "customerEmail": "x"},
        [{"type": "color", "value": "red"}, {"type": "phone", "value": "1"}],
    ],
)
def test_filters_with_personal_names_stay_here(filters: object) -> None:
    connector = Mixpanel(MixpanelConfig.model_validate({"project_id": 1, "secret": "a-secret-of-the-tests"}))
    properties = {"time": 1_756_713_600_000, "distinct_id": "u", "$insert_id": "i", "query": "lamp", "filters": filters}
    (made,) = connector.translate(event_of({"event": "Search", "properties": properties}, {}))
    assert isinstance(made, Search)
    assert made.search == {"keywords": "lamp", "filters": {"color": ["red"]}}

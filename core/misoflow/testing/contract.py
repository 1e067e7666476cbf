"""``ConnectorContract``: what every connector promises, as tests that run without a line from its author."""

from __future__ import annotations

from typing import Any

from misoflow.testing import collecting  # noqa: F401 (the plugin looks for it)
from misoflow.testing.deliveries import DeliveriesContract
from misoflow.testing.history import HistoryContract
from misoflow.testing.hygiene import HygieneContract
from misoflow.testing.installing import InstallingContract
from misoflow.testing.privacy import PrivacyContract
from misoflow.testing.samples import holds_delivery, sample_paths
from misoflow.testing.settings import SettingsContract
from misoflow.testing.translating import TranslatingContract
from misoflow.testing.whole import WholeContract, original


class ConnectorContract(
    WholeContract,
    HygieneContract,
    PrivacyContract,
    HistoryContract,
    TranslatingContract,
    InstallingContract,
    DeliveriesContract,
    SettingsContract,
):
    """Subclass it as ``TestAcme``, name the connector and its settings, and give what the sections of
    docs/authors/kit.md ask for. Tests that do not apply to a connector are not collected."""

    def pytest_generate_tests(self, metafunc: Any) -> None:
        """A contract test that takes ``sample`` or ``delivery`` runs for each file of the samples folder."""
        contract = metafunc.cls
        paths = sample_paths(contract)
        if "sample" in metafunc.fixturenames:
            metafunc.parametrize("sample", [path.stem for path in paths])
        if "delivery" in metafunc.fixturenames:
            metafunc.parametrize("delivery", [path.stem for path in paths if holds_delivery(path)])
        # a test that was replaced runs for the same cases, or its xfail would be that of a missing argument
        if not any(mark.name == "parametrize" for mark in metafunc.definition.own_markers):
            for mark in getattr(original(contract, metafunc.function.__name__), "pytestmark", []):
                if mark.name == "parametrize":
                    metafunc.parametrize(*mark.args, **mark.kwargs)

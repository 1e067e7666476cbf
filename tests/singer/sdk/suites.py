"""Meltano's suites for targets and taps, run by test_meltano.py in an environment of their own."""

from __future__ import annotations

import json
import os

from adapters import MisoTap, MisoTarget
from singer_sdk.testing import SuiteConfig, get_tap_test_class, get_target_test_class

CONFIGS = json.loads(os.environ["SINGER_CONFIGS"])
"""``target``, and a tap of events and profiles, and one of products."""

TestMisoTarget = get_target_test_class(MisoTarget, config=CONFIGS["target"])
TestEventsTap = get_tap_test_class(
    MisoTap,
    config=CONFIGS["events"],
    suite_config=SuiteConfig(ignore_no_records_for_streams=["products"]),
)
TestProductsTap = get_tap_test_class(
    MisoTap,
    config=CONFIGS["products"],
    suite_config=SuiteConfig(ignore_no_records_for_streams=["interactions", "users"]),
)

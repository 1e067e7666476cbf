"""mixpanel-utils on a range of the raw export, a file a day as its own documentation advises for long ranges.

Arguments: URL PROJECT USERNAME SECRET FROM TO, dates inclusive. The library names its hosts itself; they are plain
attributes, so ``raw_api`` is set after it is made. One request for the whole range needs gigabytes of memory.
"""

from __future__ import annotations

import sys

sys.path.pop(0)  # this file has the library's name
from mixpanel_utils import MixpanelUtils

url, project, username, secret, first, last = sys.argv[1:]
client = MixpanelUtils(secret, service_account_username=username, project_id=project)
client.raw_api = f"{url}/api"
range_ = {"from_date": first, "to_date": last, "time_in_ms": "true"}
client.export_events("mixpanel_utils.json", range_, add_gzip_header=True, request_per_day=True)

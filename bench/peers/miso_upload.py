"""A file of interactions to Miso by its own Python SDK, in calls of as many records as Miso recommends.

Arguments: URL FILE.
"""

from __future__ import annotations

import json
import sys
from itertools import islice

from miso.sdk import ApiClient

client = ApiClient("bench", host=sys.argv[1], raise_on_error=True)
with open(sys.argv[2], encoding="utf-8") as lines:
    while batch := [json.loads(line) for line in islice(lines, 10_000)]:
        client.interaction.upload(data=batch)

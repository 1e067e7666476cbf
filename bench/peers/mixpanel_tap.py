"""tap-mixpanel's stream "export" on a range; its Singer messages go to nobody.

Arguments: URL PROJECT USERNAME SECRET FROM TO, dates inclusive. The tap has an environment of its own beside the one
that runs this, so this file starts itself again in there. It names its hosts in its code and knows no service
accounts: requests are turned to the URL on their way, its ``api_secret`` is username:secret, and project_id is added.
Its look at profiles and names of properties before the export is left out. It takes times in seconds only.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

if "inside" not in sys.argv:
    python = str(Path(sys.prefix) / "tap-mixpanel" / "bin" / "python")
    os.execv(python, [python, __file__, *sys.argv[1:], "inside"])

import requests
from singer import metadata
from tap_mixpanel.client import MixpanelClient
from tap_mixpanel.discover import discover
from tap_mixpanel.sync import sync

target, project, username, secret, first, last = sys.argv[1:-1]
send = requests.Session.request


def turned(session: requests.Session, method: str, url: str, **options: Any) -> requests.Response:
    for host in ("https://data.mixpanel.com", "https://mixpanel.com"):
        url = url.replace(host, target)
    params = options.pop("params", None) or ""
    query = params if isinstance(params, str) else "&".join(f"{key}={value}" for key, value in params.items())
    return send(session, method, url, params=f"project_id={project}&{query}".rstrip("&"), **options)


requests.Session.request = turned  # type: ignore[method-assign,assignment]
MixpanelClient.check_access = lambda self: True
MixpanelClient.request = lambda self, *_, **__: {}
config = {
    "start_date": f"{first}T00:00:00Z",
    "end_date": f"{last}T23:59:59Z",
    "project_timezone": "UTC",
    "attribution_window": 1,
    "api_secret": f"{username}:{secret}",
    "user_agent": "bench",
}
with MixpanelClient(config["api_secret"], "mixpanel.com", 300, "bench") as client:
    setattr(client, "__api_domain", "mixpanel.com")  # as the tap's own start does
    catalog = discover(client, "false")
    for stream in catalog.streams:
        chosen = metadata.to_map(stream.metadata)
        stream.metadata = metadata.to_list(metadata.write(chosen, (), "selected", stream.tap_stream_id == "export"))
    with open(os.devnull, "w") as sys.stdout:
        sync(client=client, config=config, catalog=catalog, state={}, start_date=config["start_date"])
    sys.stdout = sys.__stdout__

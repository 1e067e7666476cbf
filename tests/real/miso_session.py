"""Plays a session with Miso's own SDK, and prints what it said: python miso_session.py HOST KEY."""

import json
import sys

from miso.sdk import ApiClient

host, key = sys.argv[1:]
client = ApiClient(key, host=host, raise_on_error=True)
said = {}


def interaction(kind, **own):
    return {"type": kind, "user_id": "py-user", "timestamp": "2026-11-19T08:00:00.000Z", **own}


batch = [interaction("like", product_ids=["py-1"]), interaction("search", search={"keywords": "lamp"})]
said["interactions"] = client.interaction.upload(data=batch)
said["repeat"] = client.interaction.upload(data=batch)
said["products"] = client.product.upload(data=[{"product_id": "Py-1", "title": "Lamp"}, {"product_id": "Py-2"}])
said["users"] = client.user.upload(data=[{"user_id": "py-user", "age": 30}])
said["bad"] = client.product.upload(data=[{"product_id": "Py-3", "price": 3}])
said["product deleted"] = client.product.delete(product_id="Py-2")
said["forgotten"] = client.interaction.delete(user_ids=["somebody-else"])
said["wrong key"] = ApiClient("wrong", host=host).interaction.upload(data=batch)
print(json.dumps(said))

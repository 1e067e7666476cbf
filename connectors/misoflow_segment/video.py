"""Video: how long somebody watched, told once when watching pauses or ends.

The position of the playhead stands for the time watched; a heartbeat every ten seconds is no interaction.
https://segment.com/docs/connections/spec/video/
"""

from __future__ import annotations

from typing import Any

from misoflow import Complete, Reject, Skip, Watch, once, privacy, values

from misoflow_segment.call import Call
from misoflow_segment.orders import Outputs


def paused(call: Call) -> Outputs:
    """Video Playback Paused: what was watched so far."""
    return [_watch(call, _playback_asset(call), ended=False)]


def playback_ended(call: Call) -> Outputs:
    """Video Playback Completed and Exited."""
    return _ended(call, _playback_asset(call), seen_to_the_end=call.action.endswith("completed"))


def content_completed(call: Call) -> Outputs:
    """Video Content Completed: asset_id is the content's."""
    return _ended(call, call.properties.get("asset_id"), seen_to_the_end=True)


def progress(call: Call) -> Outputs:
    """Starts, heartbeats, seeks and buffering."""
    return [Skip("watch time is told when playback pauses or ends")]


def advertisement(call: Call) -> Outputs:
    """Video Ad …: asset_id is the ad's."""
    return [Skip("the asset of a video ad is the ad")]


def _ended(call: Call, asset: Any, *, seen_to_the_end: bool) -> Outputs:
    """One watch a session and asset: a player reports the end of the playback and of the content."""
    watch = _watch(call, asset, ended=seen_to_the_end)
    session = call.properties.get("session_id")
    made: Outputs = [watch]
    if type(session) is str and privacy.plain(session):
        ids = watch.product_ids or []
        made = [once(f"watch:{privacy.plain(session)[:256]}:{ids[0]}", watch)]
    if seen_to_the_end and call.plan.config.video_complete:
        made.append(Complete(product_ids=watch.product_ids, **call.common()))
    return made


def _watch(call: Call, asset: Any, *, ended: bool) -> Watch:
    product_id = values.product_id_of(asset) or call.plan.order_product_id(call.properties)
    if product_id is None:
        raise Reject("no_product_id: the video names no asset", "$.properties")
    return Watch(product_ids=[product_id], duration=_duration(call, ended), **call.common())


def _duration(call: Call, ended: bool) -> int | float | None:
    """Seconds: the position, at most the length; the length where a video was seen to its end without a position."""
    position = values.money_of(call.properties.get("position"))
    length = values.money_of(call.properties.get("total_length"))
    if call.properties.get("livestream") is True or not length:
        return position
    if position is None:
        return length if ended else None
    return min(position, length)


def _playback_asset(call: Call) -> Any:
    asset = call.properties.get("content_asset_id")
    many = call.properties.get("content_asset_ids")
    if asset is None and type(many) is list and many:
        return many[0]
    return asset

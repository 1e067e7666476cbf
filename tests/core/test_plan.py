"""Requests of a batch: whatever is done to them, every record stays in exactly one."""

import json

from hypothesis import given
from hypothesis import strategies as st
from misoflow import plan

requests = st.sets(st.integers(0, 60), min_size=1).map(lambda wanted: plan.ranges(sorted(wanted)))


@given(requests)
def test_halves_keep_every_record_once_and_in_order(request_):
    left, right = plan.halves(request_)
    assert plan.indices(left) + plan.indices(right) == plan.indices(request_)
    assert 0 <= plan.size(left) - plan.size(right) <= 1


@given(requests, st.sets(st.integers(0, 60)))
def test_without_and_joined_are_inverse(request_, gone):
    gone &= set(plan.indices(request_))
    rest = plan.without(request_, gone)
    assert not gone & set(plan.indices(rest))
    assert plan.joined(rest, gone) == request_


@given(requests)
def test_body_holds_exactly_the_records_of_the_request(request_):
    records = [b'{"n":%d}' % n for n in range(61)]
    body = plan.body(records, request_)
    assert json.loads(body) == {"data": [{"n": n} for n in plan.indices(request_)]}
    assert plan.size(request_) == len(plan.indices(request_))

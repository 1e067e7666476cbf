"""Crontab expressions as everybody writes them, for APScheduler, which counts the days of the week from Monday.

https://man7.org/linux/man-pages/man5/crontab.5.html,
https://apscheduler.readthedocs.io/en/3.x/modules/triggers/cron.html
"""

from __future__ import annotations

from datetime import UTC, datetime

from apscheduler.triggers.cron import CronTrigger

DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
WRONG = 'must be five fields, minute hour day month weekday, such as "30 2 * * 1-5"; times are UTC'


def crontab(text: str) -> CronTrigger:
    """When it comes, in UTC; Sunday is 0 or 7. ValueError for what is no crontab expression or never comes."""
    fields = text.split()
    if len(fields) == 5 and fields[2] != "*" and fields[4] != "*":
        # cron runs on either of both, APScheduler on days that are both
        raise ValueError("cannot name days of the month and of the week at once")
    try:
        trigger = CronTrigger.from_crontab(" ".join([*fields[:4], *map(_weekdays, fields[4:])]), timezone=UTC)
    except ValueError:
        raise ValueError(WRONG) from None
    if trigger.get_next_fire_time(None, datetime.now(UTC)) is None:
        raise ValueError("names a day that never comes")
    return trigger


def _weekdays(field: str) -> str:
    if field == "*":
        return field
    found: list[str] = []
    for part in field.lower().split(","):
        span, slash, step = part.partition("/")
        first, dash, last = ("0", "-", "6") if span == "*" else span.partition("-")
        low = _day(first)
        high = _day(last) if dash else 6 if slash else low
        days = range(low, high + 1 if high >= low else high + 8, int(step) if slash else 1)
        found += [DAYS[day % 7] for day in days]
    return ",".join(dict.fromkeys(found))


def _day(text: str) -> int:
    number = DAYS.index(text) if text in DAYS else int(text)
    if not 0 <= number <= 7:
        raise ValueError(WRONG)
    return number

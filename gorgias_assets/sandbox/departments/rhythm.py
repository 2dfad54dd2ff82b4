"""How busy a brand is by the hour and by the day of the week. Hours are UTC."""

from datetime import datetime, timedelta
from random import Random

HOURS = [0.25, 0.15, 0.1, 0.1, 0.15, 0.3, 0.6, 1.0, 1.5, 1.9, 2.0, 1.8, 1.6, 1.6, 1.7, 1.6, 1.5, 1.4, 1.3, 1.3, 1.2]
HOURS += [1.0, 0.7, 0.4]
WEEKDAYS = [1.5, 1.15, 1.05, 1.0, 1.0, 0.7, 0.6]
"""From Monday, when people write what they kept over the weekend. Both are about one on average."""

PEAK = max(HOURS) * max(WEEKDAYS)


def busy(moment: datetime) -> float:
    return HOURS[moment.hour] * WEEKDAYS[moment.weekday()]


def next_arrival(random: Random, now: datetime, per_day: float) -> datetime:
    """Return when the next of so many a day arrives."""
    moment = now
    while True:
        moment += timedelta(days=random.expovariate(per_day * PEAK))
        if random.random() * PEAK < busy(moment):
            return moment

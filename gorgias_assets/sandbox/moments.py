"""Instants as Gorgias prints them, and as whole microseconds since 1970, by which rows are ordered."""

from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


def microseconds(moment: datetime | str) -> int:
    """Parse an instant, with or without an offset (then UTC) or a fraction. ValueError if it is none."""
    if isinstance(moment, str):
        moment = datetime.fromisoformat(moment)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - EPOCH) // MICROSECOND


def printed(moment: datetime) -> str:
    """Return `2026-08-26T18:36:51.461517+00:00`; the fraction is left out if it is zero."""
    return moment.astimezone(UTC).isoformat()


def naive(instant: int) -> str:
    """Return microseconds as a cursor carries them: UTC without an offset."""
    return (EPOCH + instant * MICROSECOND).replace(tzinfo=None).isoformat()

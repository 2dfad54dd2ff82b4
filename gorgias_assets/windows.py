"""Windows of time."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Self


@dataclass(frozen=True)
class Window:
    """A half-open interval `[start, end)` of aware UTC datetimes."""

    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        if not self.start.utcoffset() == self.end.utcoffset() == timedelta(0):
            raise ValueError("A window's start and end must be aware datetimes in UTC.")
        if self.start >= self.end:
            raise ValueError(f"A window must end after it starts; got {self}.")

    @classmethod
    def of(cls, start: datetime, end: datetime) -> Self:
        """The window between two aware datetimes of any time zone."""
        return cls(start.astimezone(UTC), end.astimezone(UTC))

    def joined(self, others: Iterable[Self]) -> list[Self]:
        """Return this window and others in their order, with those that meet or overlap as one."""
        windows: list[Self] = []
        for window in sorted([self, *others], key=lambda window: window.start):
            if windows and window.start <= windows[-1].end:
                windows[-1] = type(self)(windows[-1].start, max(windows[-1].end, window.end))
            else:
                windows.append(window)
        return windows

    def __contains__(self, moment: datetime) -> bool:
        return self.start <= moment < self.end

    def __str__(self) -> str:
        return f"[{self.start:%F %T}, {self.end:%F %T}) UTC"

"""The door: what may be stored of rows, right before they are."""

from dataclasses import dataclass

from gorgias_assets.privacy import Screen


@dataclass(frozen=True)
class Door:
    """The rules that all rows of an account pass before they are stored.

    - `screen`: the privacy policy, which rows pass as they are typed; None without one.
    """

    screen: Screen | None = None

    @property
    def mark(self) -> str:
        """The mark of the privacy policy, by which rows that were stored under another one are noticed."""
        return self.screen.mark if self.screen else ""

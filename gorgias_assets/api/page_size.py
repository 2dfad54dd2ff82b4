"""How many rows of a list to ask for: as many as Gorgias gives, and fewer while its pages are too heavy."""

PAGE_ROWS = 100  # the API's maximum for every list
PAGE_BYTES = 16 * 2**20  # to aim at, where rows are long
MOST_BYTES = 32 * 2**20  # of a body, decompressed
MOST_BYTES_OF_ONE = 256 * 2**20  # of a page of a single row
_FAILURES_IN_A_ROW = 2  # a single one may have nothing to do with the page


class PageSize:
    """The number of `rows` to ask for next, at most `most`; at most `most_bytes` of them are read."""

    def __init__(self, most: int = PAGE_ROWS) -> None:
        self.rows = self._most = most
        self._failures = 0

    @property
    def most_bytes(self) -> int:
        return MOST_BYTES if self.rows > 1 else MOST_BYTES_OF_ONE

    def answered(self, rows: int, size: int) -> None:
        """Ask for twice as many rows again, or for as many as weigh `PAGE_BYTES`, after a page of `size` bytes."""
        self._failures = 0
        if rows:
            self.rows = max(1, min(self._most, self.rows * 2, PAGE_BYTES * rows // max(1, size)))

    def was_too_heavy(self) -> bool:
        """Ask for half as many rows after a page of more than `most_bytes`; return False if it was of one row."""
        can_shrink = self.rows > 1
        self.rows = max(1, self.rows // 2)
        return can_shrink

    def was_too_slow(self) -> None:
        """Ask for half as many rows if a page was not answered in time, twice or more in a row."""
        self._failures += 1
        if self._failures >= _FAILURES_IN_A_ROW:
            self.rows = max(1, self.rows // 2)

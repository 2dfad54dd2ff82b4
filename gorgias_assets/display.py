"""Text from outside, as people may see it: in a log, a check, a page, a terminal."""

import unicodedata
from collections import Counter
from collections.abc import Mapping

MOST_LETTERS = 60
MOST_NAMES = 30


def shown(text: object, most: int = MOST_LETTERS) -> str:
    r"""Return the text on one line and of `most` letters at the most, with what would not be seen as an escape.

    Line ends, control codes, marks of direction and other letters without a shape become `\x1b` or `\u202e`.
    """
    letters = str(text)
    escaped = "".join(letter if _has_shape(letter) else _escape(letter) for letter in letters[:most])
    return f"{escaped[:most]}…" if len(letters) > most or len(escaped) > most else escaped


def shown_counts(counts: Mapping[str, int], most: int = MOST_NAMES) -> dict[str, int]:
    """Return the counts by names as people may see them, in their order; those after the first `most` are one sum."""
    names = list(counts)
    by_name: Counter[str] = Counter()
    for name in names[:most]:
        by_name[shown(name)] += counts[name]
    if names[most:]:
        by_name[f"{len(names) - most:,} others"] = sum(counts[name] for name in names[most:])
    return dict(by_name)


def _has_shape(letter: str) -> bool:
    return letter == " " or unicodedata.category(letter)[0] not in "CZ"


def _escape(letter: str) -> str:
    return letter.encode("unicode_escape").decode("ascii")

"""Numbers and days as a reader of the evidence sees them."""

from datetime import date

DASH = "–"


def count_of(count: int | None) -> str:
    """A dash where nobody can tell."""
    return DASH if count is None else f"{count:,}"


def duration(seconds: float) -> str:
    """In the unit that a person would use."""
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def signed(number: str) -> str:
    """With a real minus."""
    return number.replace("-", "−")


def counted(count: int, noun: str) -> str:
    """With its noun."""
    many = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"
    return f"{count:,} {noun if count == 1 else many}"


def figure(value: float | None) -> str:
    """Of three digits."""
    return DASH if value is None else f"{value:.3f}"


def day(day: date) -> str:
    return f"{day.day} {day:%B %Y}"

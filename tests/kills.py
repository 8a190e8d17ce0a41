"""A kill -9: of what, and when."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Kill:
    """After which share of the time that it all takes undisturbed."""

    name: str
    share: float

    def __str__(self) -> str:
        return f"{self.name}-{self.share:.2f}"

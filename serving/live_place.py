"""Where a shop's live store is: its database, and the photos that were sent."""

from dataclasses import dataclass
from pathlib import Path

LIVE = "live"  # folder under the root for the photos of live items
LIVE_DATABASE = "live.db"


@dataclass(frozen=True)
class LivePlace:
    """`url` None: SQLite under the root."""

    root: Path
    given_url: str | None = None

    @property
    def url(self) -> str:
        return self.given_url or f"sqlite:///{self.root.resolve()}/{LIVE_DATABASE}"

    @property
    def folder(self) -> Path:
        return self.root / LIVE

    @property
    def exists(self) -> bool:
        """Was anything ever kept there? Of a database that is a server: perhaps."""
        return self.given_url is not None or (self.root / LIVE_DATABASE).is_file()

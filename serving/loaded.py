"""An engine that answers, and the decision that put it there."""

from dataclasses import dataclass
from datetime import UTC, datetime

from model.errors import Damaged
from serving.engine import Engine
from serving.ledger import Entry


@dataclass(frozen=True)
class Loaded:
    """A bundle in memory: the champion, or a candidate beside it."""

    engine: Engine
    entry: Entry
    created: datetime

    @classmethod
    def of(cls, engine: Engine, entry: Entry) -> "Loaded":
        """Raises Damaged where the manifest has no time of creation."""
        return cls(engine, entry, _created(engine.bundle.manifest.get("created")))

    @property
    def digest(self) -> str:
        return self.engine.bundle.digest

    def age_seconds(self) -> float:
        return (datetime.now(UTC) - self.created).total_seconds()


def _created(text: object) -> datetime:
    try:
        created = datetime.fromisoformat(str(text))
    except ValueError:
        raise Damaged(
            f"The manifest has no time of creation. Expected ISO 8601. Received: {text!r}."
        ) from None
    return created if created.tzinfo else created.replace(tzinfo=UTC)

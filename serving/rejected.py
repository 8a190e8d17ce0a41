"""A request that gets an error answer."""

from model.errors import LookalikeError
from serving.limits import RETRY_AFTER_SECONDS


class Rejected(LookalikeError):
    """HTTP status, code for machines, message for people."""

    def __init__(
        self, status: int, code: str, message: str, headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.headers = headers or {}


def unavailable(code: str, message: str) -> Rejected:
    """Now, but not for long."""
    return Rejected(503, code, message, {"Retry-After": str(RETRY_AFTER_SECONDS)})

"""The project's own errors. Each message says what happened, what was expected and what to do."""


class LookalikeError(Exception):
    """Root of every error raised on purpose."""


class BadInput(LookalikeError):
    """Data or settings from outside break a contract; trying again cannot help."""


class BadImage(BadInput):
    """An image that cannot become pixels; `reason` is one of `pixels.REASONS`."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason

    def __reduce__(self) -> tuple[type["BadImage"], tuple[str, str]]:
        return BadImage, (self.reason, str(self))


class Damaged(LookalikeError):
    """Stored bytes differ from what their manifest says."""


class SpaceMismatch(LookalikeError):
    """Two vectors of different embedding spaces were about to be compared."""


class Refused(LookalikeError):
    """A gate or a release rule said no; the former state stays."""

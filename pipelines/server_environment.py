"""Our settings as a server reads them, see `serving/settings.py`."""

from pydantic import SecretStr

from pipelines.operator_key import operator_keys
from pipelines.settings import Settings


def server_environment(settings: Settings) -> dict[str, str]:
    """Variables for a server's process."""
    found: dict[str, object] = {f"serve__{name}": value for name, value in settings.serve}
    found |= {"root": settings.root, "serve__operator_keys": operator_keys(settings)}
    found["live__url"] = settings.live.url
    return {
        f"LOOKALIKE_{name.upper()}": _text(value)
        for name, value in found.items()
        if value is not None
    }


def _text(value: object) -> str:
    return value.get_secret_value() if isinstance(value, SecretStr) else str(value)

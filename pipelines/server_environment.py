"""Our settings as a server reads them, see `serving/settings.py`."""

from pathlib import Path
from secrets import token_urlsafe

from pydantic import SecretStr

from pipelines.operator_key import operator_keys
from pipelines.settings import Live, Settings


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


def trial_environment(settings: Settings, root: Path) -> tuple[dict[str, str], dict[str, str]]:
    """Variables for a server of its own over another root, and the headers to ask it with.

    It has a key that nobody else knows, limits nobody, keeps no photo, and changes no item.
    """
    secret = token_urlsafe(32)
    alone = settings.serve.model_copy(
        update={
            "operator_keys": SecretStr(f"trial:{secret}"),
            "search_keys": SecretStr(f"search:{token_urlsafe(32)}"),
            "requests_per_second": None,
            "sample_queries": 0.0,
        }
    )
    trial = settings.model_copy(update={"root": root, "live": Live(), "serve": alone})
    return server_environment(trial), {"Authorization": f"Bearer {secret}"}


def _text(value: object) -> str:
    return value.get_secret_value() if isinstance(value, SecretStr) else str(value)

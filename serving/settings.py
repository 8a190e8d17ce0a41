"""What a server reads from its environment; `lookalike serve` writes it there.

Not in `lookalike.toml`: a server needs nothing of the pipelines.
"""

from functools import cached_property
from pathlib import Path

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict

from model.errors import BadInput
from serving import ledger
from serving.keys import HOW, Keys, read_pairs
from serving.live_place import LivePlace


class Serve(BaseModel):
    """The part of the settings that a running server needs; the command line has the address."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    poll_seconds: float = Field(default=0.25, gt=0)  # how often the ledger is read
    timeout_seconds: int = Field(default=30, gt=0, le=100)
    operator_keys: SecretStr  # see serving/keys.py
    search_keys: SecretStr | None = None  # None: everybody who reaches the port may search
    requests_per_second: float | None = Field(default=None, gt=0)  # of one key, or one address
    request_burst: int = Field(default=200, ge=1)  # at once, after a pause
    sample_queries: float = Field(default=0.0, ge=0, le=1)  # share of query photos that are kept

    @field_validator("operator_keys", "search_keys")
    @classmethod
    def _are_pairs(cls, secret: SecretStr | None) -> SecretStr | None:
        _ = _pairs(secret)
        return secret

    @model_validator(mode="after")
    def _differ(self) -> "Serve":
        _ = self.keys
        return self

    @cached_property
    def keys(self) -> Keys:
        return Keys(_pairs(self.operator_keys), _pairs(self.search_keys))


class Live(BaseModel):
    """The part of the settings about changes of items."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    url: str | None = None  # of the store; default: under the root


class ServeSettings(BaseSettings):
    """LOOKALIKE_ROOT, LOOKALIKE_SERVE__POLL_SECONDS, ..."""

    model_config = SettingsConfigDict(
        env_prefix="LOOKALIKE_",
        env_nested_delimiter="__",
        frozen=True,
        extra="ignore",
        hide_input_in_errors=True,  # it may be a secret
    )

    root: Path
    serve: Serve = Field(default={}, validate_default=True)
    live: Live = Live()

    @property
    def live_place(self) -> LivePlace:
        return LivePlace(self.root, self.live.url)


def _pairs(keys: SecretStr | None) -> list[tuple[str, str]]:
    return read_pairs(keys.get_secret_value()) if keys is not None else []


def load_serve_settings() -> ServeSettings:
    """Settings of the environment. Raises BadInput that names the variable."""
    try:
        return ServeSettings()
    except ValidationError as error:
        faults = [
            f"LOOKALIKE_{'__'.join(map(str, fault['loc'])).upper()}: {fault['msg'].rstrip('.')}"
            for fault in error.errors()
        ]
        raise BadInput(
            f"Cannot serve with this environment. {'; '.join(faults)}. LOOKALIKE_ROOT is the "
            f"folder with `{ledger.LEDGER}` and `bundles/`. LOOKALIKE_SERVE__OPERATOR_KEYS has "
            f"`name:secret`, several with commas between them; make one with: {HOW}"
        ) from error

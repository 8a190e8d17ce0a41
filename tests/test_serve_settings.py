"""A server starts with a root and an operator's key, or says what is missing, and no secret."""

import traceback
from pathlib import Path

import pytest

from model.errors import BadInput
from serving.settings import Serve, ServeSettings, load_serve_settings

SECRET = "s3cret-" * 4
PAIR = f"ada:{SECRET}"
TAIL = (
    " LOOKALIKE_ROOT is the folder with `ledger.jsonl` and `bundles/`. "
    "LOOKALIKE_SERVE__OPERATOR_KEYS has `name:secret`, several with commas between them; make one "
    "with: python -c \"import secrets; print('operator:' + secrets.token_urlsafe(32))\""
)


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    monkeypatch.setenv("LOOKALIKE_ROOT", str(tmp_path))
    monkeypatch.setenv("LOOKALIKE_SERVE__OPERATOR_KEYS", PAIR)
    return monkeypatch


def refusal() -> str:
    with pytest.raises(BadInput) as error:
        load_serve_settings()
    assert SECRET not in "".join(traceback.format_exception(error.value))
    message = str(error.value)
    assert message.startswith("Cannot serve with this environment. ")
    assert message.endswith(TAIL)
    return message.removeprefix("Cannot serve with this environment. ").removesuffix(TAIL)


def test_settings_of_the_environment(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    environment.setenv("LOOKALIKE_TRAIN__EPOCHS", "3")
    environment.setenv("LOOKALIKE_SERVE__PORT", "3001")
    expected = Serve.model_validate({"operator_keys": PAIR})
    assert load_serve_settings() == ServeSettings(root=tmp_path, serve=expected)
    assert (expected.poll_seconds, expected.timeout_seconds) == (0.25, 30)
    assert (expected.search_keys, expected.requests_per_second) == (None, None)
    assert expected.sample_queries == 0
    environment.setenv("LOOKALIKE_SERVE__POLL_SECONDS", "0.5")
    environment.setenv("LOOKALIKE_SERVE__REQUESTS_PER_SECOND", "20")
    found = load_serve_settings().serve
    assert (found.poll_seconds, found.requests_per_second) == (0.5, 20.0)


def test_settings_that_are_missing_or_wrong(environment: pytest.MonkeyPatch) -> None:
    environment.delenv("LOOKALIKE_ROOT")
    environment.delenv("LOOKALIKE_SERVE__OPERATOR_KEYS")
    environment.setenv("LOOKALIKE_SERVE__POLL_SECONDS", "0")
    assert refusal() == (
        "LOOKALIKE_ROOT: Field required; "
        "LOOKALIKE_SERVE__POLL_SECONDS: Input should be greater than 0; "
        "LOOKALIKE_SERVE__OPERATOR_KEYS: Field required."
    )


def test_without_any_setting_of_serving_the_key_is_what_is_missing(
    environment: pytest.MonkeyPatch,
) -> None:
    environment.delenv("LOOKALIKE_SERVE__OPERATOR_KEYS")
    assert refusal() == "LOOKALIKE_SERVE__OPERATOR_KEYS: Field required."


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "Key 1 is no `name:secret`."),
        (SECRET, "Key 1 is no `name:secret`."),
        (f"{PAIR},", "Key 2 is no `name:secret`."),
        (f"a b:{SECRET}", "Key 1 is no `name:secret`."),
        (f"ada:{SECRET} {SECRET}", "Key 1 is no `name:secret`."),
        ("bob:" + "x" * 23, "The secret of key 'bob' is too short."),
    ],
)
@pytest.mark.parametrize("name", ["OPERATOR_KEYS", "SEARCH_KEYS"])
def test_keys_that_are_none(
    environment: pytest.MonkeyPatch, name: str, text: str, reason: str
) -> None:
    environment.setenv(f"LOOKALIKE_SERVE__{name}", text)
    assert refusal().startswith(f"LOOKALIKE_SERVE__{name}: Value error, {reason}")


@pytest.mark.parametrize(
    ("searchers", "what"), [(f"ada:{'x' * 30}", "name"), (f"bob:{SECRET}", "secret")]
)
def test_keys_differ(environment: pytest.MonkeyPatch, searchers: str, what: str) -> None:
    environment.setenv("LOOKALIKE_SERVE__SEARCH_KEYS", searchers)
    assert refusal() == (
        f"LOOKALIKE_SERVE: Value error, Two keys have one {what}. Expected another for each key."
    )


def test_settings_do_not_show_their_keys(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("LOOKALIKE_SERVE__SEARCH_KEYS", f"shop:{'x' * 30}")
    settings = load_serve_settings()
    assert not settings.serve.keys.search_is_open
    for text in (repr(settings), str(settings), settings.model_dump_json(), repr(vars(settings))):
        assert SECRET not in text
        assert "x" * 30 not in text

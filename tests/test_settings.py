"""Settings: a file, then the environment, and a fault that names its field."""

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from model.errors import BadInput
from model.pixel_spec import PixelSpec
from pipelines.settings import Augmentation, Preprocess, Settings, Train, config_file, load_settings


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that LOOKALIKE_CONFIG names."""
    path = tmp_path / "shop.toml"
    path.touch()
    monkeypatch.setenv("LOOKALIKE_CONFIG", str(path))
    return path


def message() -> str:
    with pytest.raises(BadInput) as caught:
        load_settings()
    return str(caught.value)


def test_augmentation_is_a_section_of_train(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config.write_text("[train.augmentation]\nmirror = false\nzoom = [0.5, 1]\n")
    monkeypatch.setenv("LOOKALIKE_TRAIN__AUGMENTATION__COLOUR", "0.2")
    assert load_settings().train.augmentation == Augmentation(
        mirror=False, zoom=(0.5, 1.0), colour=0.2
    )
    config.write_text("[train.augmentation]\nzoom = [1.2, 0.5]\n")
    assert "expected the smaller share first, received (1.2, 0.5)" in message()


@pytest.mark.usefixtures("config")
def test_the_defaults_run_on_a_laptop() -> None:
    settings = load_settings()
    assert settings == Settings(root=Path("build/shop"))
    assert settings.pixel_spec == PixelSpec(64)
    assert settings.tracking_uri == f"sqlite:///{Path.cwd()}/build/shop/mlflow.db"


def test_the_file_is_read(config: Path) -> None:
    config.write_text(
        'root = "/srv/shop"\n[train]\nepochs = 30\nblocks = [2, 2]\n'
        '[registry]\ntracking_uri = "http://mlflow:5000"\n'
    )
    settings = load_settings()
    assert settings.root == Path("/srv/shop")
    assert settings.train == Train(epochs=30, blocks=(2, 2))
    assert settings.tracking_uri == "http://mlflow:5000"
    assert settings.preprocess == Preprocess()


def test_the_environment_wins_over_the_file(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config.write_text('root = "/srv/file"\n[train]\nepochs = 30\nwidth = 8\n')
    monkeypatch.setenv("LOOKALIKE_ROOT", "/srv/environment")
    monkeypatch.setenv("LOOKALIKE_TRAIN__EPOCHS", "5")
    monkeypatch.setenv("LOOKALIKE_TRAIN__BLOCKS", "[1, 2]")
    settings = load_settings()
    assert settings.root == Path("/srv/environment")
    assert settings.train == Train(epochs=5, width=8, blocks=(1, 2))


def test_what_is_given_wins_over_both(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config.write_text('root = "/srv/file"\n')
    monkeypatch.setenv("LOOKALIKE_ROOT", "/srv/environment")
    assert load_settings(root=Path("/srv/given")).root == Path("/srv/given")


def test_a_whole_section_may_be_one_variable(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config.write_text("[train]\nwidth = 8\n")
    monkeypatch.setenv("LOOKALIKE_TRAIN", json.dumps({"epochs": 3}))
    assert load_settings().train == Train(epochs=3, width=8)


def test_the_file_is_lookalike_toml_unless_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LOOKALIKE_CONFIG")
    monkeypatch.chdir(tmp_path)
    assert config_file() == Path("lookalike.toml")
    assert load_settings().train.epochs == Train().epochs
    Path("lookalike.toml").write_text("[train]\nepochs = 4\n")
    assert load_settings().train.epochs == 4


def test_a_named_file_that_is_not_there(config: Path) -> None:
    config.unlink()
    assert message() == f"LOOKALIKE_CONFIG names a file that does not exist: {config}."


def test_every_fault_is_named_with_its_field_and_value(config: Path) -> None:
    config.write_text(
        "[train]\nepochs = 0\nwarmup_share = 1.0\n[ingest]\nmax_bad_share = -0.5\n"
        '[index]\nengine = "faiss"\n'
    )
    assert message().splitlines() == [
        f"Invalid settings in {config} or the environment:",
        "  ingest.max_bad_share: Input should be greater than or equal to 0. Received: -0.5",
        "  train.epochs: Input should be greater than 0. Received: 0",
        "  train.warmup_share: Input should be less than 1. Received: 1.0",
        "  index.engine: String should match pattern "
        "'^(auto|exact|(scann|two-stage)(:.+)?|faiss:.+)$'. Received: 'faiss'",
    ]


@pytest.mark.parametrize("value", ["soon", "", "1.5"])
def test_a_bad_variable_is_named_with_its_field(
    config: Path, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("LOOKALIKE_TRAIN__EPOCHS", value)
    first, second = message().splitlines()
    assert first == f"Invalid settings in {config} or the environment:"
    assert second.startswith("  train.epochs: Input should be a valid integer, ")
    assert second.endswith(f". Received: {value!r}")


@pytest.mark.parametrize(
    ("text", "field"),
    [("[train]\nepoch = 3\n", "train.epoch"), ("[trian]\nepochs = 3\n", "trian")],
)
def test_unknown_keys_are_refused(config: Path, text: str, field: str) -> None:
    config.write_text(text)
    assert f"\n  {field}: Extra inputs are not permitted. Received: " in message()


@pytest.mark.parametrize("text", ["resize(64)", "decode|orient|resize(7)|pad", "", "decode|pad"])
def test_a_bad_pixel_spec_is_refused(config: Path, text: str) -> None:
    config.write_text(f'[preprocess]\npixel_spec = "{text}"\n')
    assert (
        "  preprocess.pixel_spec: Value error, Invalid pixel spec. Expected "
        "`decode|orient|resize(SIDE)|pad` with SIDE from 8 to 1024. "
        f"Received: {text!r}.. Received: {text!r}"
    ) in message()


@pytest.mark.parametrize("text", ["[train\nepochs = 3", "epochs = = 3"])
def test_a_file_that_is_not_toml_is_bad_input(config: Path, text: str) -> None:
    config.write_text(text)
    assert str(config) in message()


def test_a_variable_that_is_not_json_is_bad_input(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOOKALIKE_TRAIN", "width=8")
    assert "train" in message()


def test_settings_do_not_change_after_they_are_read() -> None:
    settings = Settings(root=Path("shop"))
    with pytest.raises(ValidationError, match="frozen"):
        settings.root = Path("other")  # type: ignore[misc]
    with pytest.raises(ValidationError, match="frozen"):
        settings.train.epochs = 3  # type: ignore[misc]


def test_the_recipe_is_without_what_only_says_when_to_train() -> None:
    same = {Train(retrain_above=0.5, max_age_days=1).recipe, Train().recipe}
    other = {Train(width=8).recipe, Train(seed=1).recipe, Train(epochs=13).recipe}
    assert (len(same), len(other - same)) == (1, 3)

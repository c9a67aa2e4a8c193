"""What the page keeps between visits."""

from pathlib import Path

import pytest

from app.home import Home, default_home
from captioner.errors import ConfigError


def test_a_home_is_no_folder_until_something_is_kept(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    assert home.models() == {}
    assert home.collection == tmp_path / "home" / "collection"
    assert home.new_model("mine") == tmp_path / "home" / "models" / "mine"
    assert not home.folder.exists()


def test_accepted_models_are_found_by_name_and_what_is_no_model_is_not(tmp_path: Path) -> None:
    for name in ("second", "first", ".unfinished"):
        folder = tmp_path / "models" / name
        folder.mkdir(parents=True)
        (folder / "manifest.json").write_text("{}")
    (tmp_path / "models" / "empty").mkdir()
    (tmp_path / "models" / "letter.txt").touch()
    found = Home(tmp_path).models()
    assert list(found) == ["first", "second"]
    assert found["first"] == tmp_path / "models" / "first"


@pytest.mark.parametrize("name", ["", ".", "..", "../mine", "a/b", "a\\b", ".hidden", "a\0b", "mine ", "x" * 65])
def test_a_name_that_could_lead_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="name must be"):
        Home(tmp_path).new_model(name)


def test_a_name_is_given_once(tmp_path: Path) -> None:
    Home(tmp_path).new_model("mine").mkdir(parents=True)
    with pytest.raises(ConfigError, match="called 'mine'"):
        Home(tmp_path).new_model("mine")


@pytest.mark.parametrize(
    ("platform", "variable", "value", "expected"),
    [
        ("linux", "XDG_DATA_HOME", "/data", "/data/captioner"),
        ("linux", "XDG_DATA_HOME", "relative", "/home/ada/.local/share/captioner"),
        ("linux", "XDG_DATA_HOME", "", "/home/ada/.local/share/captioner"),
        ("darwin", "XDG_DATA_HOME", "/data", "/home/ada/Library/Application Support/captioner"),
        ("win32", "LOCALAPPDATA", "/local", "/local/captioner"),
    ],
)
def test_the_default_is_where_the_platform_keeps_data(
    monkeypatch: pytest.MonkeyPatch, platform: str, variable: str, value: str, expected: str
) -> None:
    monkeypatch.setattr("sys.platform", platform)
    monkeypatch.setattr(Path, "home", lambda: Path("/home/ada"))
    monkeypatch.setenv(variable, value)
    assert default_home() == Path(expected)

"""Where the images are looked for."""

from pathlib import Path

import pytest

from medlangevin.datasets.images import data_root


def test_the_option_beats_the_variable_and_the_variable_beats_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDLANGEVIN_DATA", "elsewhere")
    assert data_root("here") == Path("here")
    assert data_root(None) == Path("elsewhere")
    monkeypatch.delenv("MEDLANGEVIN_DATA")
    assert data_root() == Path("data/images")


def test_empty_values_count_as_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDLANGEVIN_DATA", "")
    assert data_root("") == Path("data/images")


def test_the_home_folder_is_expanded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDLANGEVIN_DATA", "~/images")
    assert data_root() == Path.home() / "images"

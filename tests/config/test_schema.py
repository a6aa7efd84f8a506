"""Every setting is described, for the tables of the docs, and every kind of section can be found."""

import pytest
from pydantic import BaseModel

from medlangevin.config import Config
from medlangevin.config.evaluation import ImageEvaluation
from medlangevin.config.model import KINDS
from medlangevin.config.schema import all_sections, what_has, without_kinds

SECTIONS = [
    (key, section)
    for schema in (Config, ImageEvaluation)
    for key, kinds in all_sections(schema).items()
    for section in kinds
]


@pytest.mark.parametrize(("key", "section"), SECTIONS, ids=lambda item: item or "run" if isinstance(item, str) else "")
def test_every_setting_says_in_a_sentence_what_it_is(key: str, section: type[BaseModel]) -> None:
    for name, field in section.model_fields.items():
        described = field.description or ""
        assert described.endswith("."), f"{key}.{name}"
        assert len(described) > 3, f"{key}.{name}"


def test_all_kinds_of_all_sections_are_found() -> None:
    found = {key: [section.__name__ for section in kinds] for key, kinds in all_sections(Config).items()}
    assert set(found) == {
        *("", "data", "images", "training", "model"),
        *(f"model.{name}" for name in ("network", "likelihood", "planar", "importance", "flow", "langevin", "ppca")),
    }
    assert found["model"] == [section.__name__ for section in KINDS.values()]
    assert found["model.flow"] == ["UntemperedFlow", "TemperedFlow", "AnnealedFlow", "PublishedFlow"]
    assert found["model.ppca"] == ["CrossValidated", "MaximumLikelihood"]
    assert found["training"] == ["AdamTraining", "SGDTraining"]
    assert len(found["model.network"]) == 4
    assert len(found["model.langevin"]) == 5


@pytest.mark.parametrize(
    ("location", "keys"),
    [
        (("model", "flow", "flow", "steps"), "model.flow.steps"),
        (("model", "langevin", "langevin", "steps"), "model.langevin.steps"),
        (("model", "langevin", "update"), "model.langevin.update"),
        (("model", "network", "conv5", "channels", "0"), "model.network.channels.0"),
        (("training", "adam", "epochs"), "training.epochs"),
        (("data", "window_hu", "1"), "data.window_hu.1"),
    ],
)
def test_the_kinds_of_a_location_are_left_out(location: tuple[str, ...], keys: str) -> None:
    assert ".".join(without_kinds(location, Config)) == keys


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("model.langevin.metropolis", "kind: hoffman, or with kind: lae and langevin.update: langevin"),
        ("model.langevin.posterior_steps", "kind: lae or ae"),
        ("model.ppca.folds", "kind: ppca and ppca.estimate: cross_validated"),
        ("model.network", "kind: any but ppca"),
        ("training.epsilon", "optimizer: adam or adamax"),
        ("model.flow.wings", ""),
    ],
)
def test_what_has_a_setting_in_words(key: str, words: str) -> None:
    assert what_has(key.split("."), Config) == words

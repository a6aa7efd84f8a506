"""YAML from strangers: any text is a valid configuration or one line, at once and in little memory."""

import tracemalloc
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from medlangevin.config import Config, dump_config, load_config, load_run_config, parse_config
from medlangevin.config.yaml_text import parse_yaml
from medlangevin.papers.table.schema import load_table
from medlangevin.system.errors import MedlangevinError

MINIMAL = "name: a\nmodel: {kind: vae}\n"
LAUGHS = "a: &a [ha, ha]\n" + "".join(
    f"{y}: &{y} [*{x}, *{x}, *{x}, *{x}]\n" for x, y in zip("abcdefgh", "bcdefghi", strict=True)
)
HOSTILE = {
    "billion laughs": (LAUGHS + "name: *i\n", "aliases"),
    "an object": ("name: !!python/object/apply:os.mkdir [sprung]\nmodel: {kind: vae}\n", "tags"),
    "an object of its own": ("model: !!python/object/new:os.system [touch sprung]\n", "tags"),
    "a tag that PyYAML stumbles over": (MINIMAL + "seed: !!bool x\n", "tags"),
    "a deep flow": ("[" * 50_000, "40 levels"),
    "a deep mapping": ("{a: " * 50_000, "40 levels"),
    "a deep block": ("".join(" " * n + "a:\n" for n in range(600)), "40 levels"),
    "a long file": (MINIMAL + "#" * 10**6, "longer than 256 KiB"),
    "many keys": (MINIMAL + "".join(f"k{n}: 1\n" for n in range(1000)), "and 995 more"),
    "a long number": (MINIMAL + "seed: " + "9" * 10_000, "64 bits"),
    "a long hexadecimal number": (MINIMAL + "seed: 0x" + "f" * 10_000, "64 bits"),
    "a long sexagesimal number": (MINIMAL + "seed: 1" + ":1" * 10_000, "64 bits"),
    "a number of 64 bits": (MINIMAL + f"seed: {2**63}", "64 bits"),
    "NUL": (MINIMAL + 'output_dir: "a\\0b"\n', "NUL"),
    "a long word": ("name: " + "a" * 10_000 + "\nmodel: {kind: vae}\n", "'name'"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_one_short_line_and_takes_no_memory(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text, message = HOSTILE[name]
    path = Path("config.yaml")
    path.write_text(text)
    tracemalloc.start()
    for read in (load_config, load_run_config, load_table):
        with pytest.raises(MedlangevinError) as error:
            read(path)
        if read is not load_table:
            assert message in str(error.value)
        assert "\n" not in str(error.value)
        assert len(str(error.value)) < 1500
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 64 * 2**20
    assert [item.name for item in tmp_path.iterdir()] == ["config.yaml"]


def test_a_file_without_end_is_not_read_to_its_end() -> None:
    endless = Path("/dev/zero")
    if not endless.exists():
        pytest.skip("no /dev/zero")
    with pytest.raises(MedlangevinError, match="longer than 256 KiB"):
        load_config(endless)


# Text that looks like a configuration and is one only sometimes.
WORDS = "name seed model kind vae training epochs data root images set a 1 1e3 .nan .inf -0 0x1f 0o7 1:30 true ~"
MARKS = [
    ": ",
    "\n",
    "\n  ",
    "\n    ",
    "- ",
    "? ",
    "[",
    "]",
    "{",
    "}",
    ", ",
    "&x ",
    "*x ",
    "!!int ",
    "|\n",
    "#",
    "---\n",
]
words = st.sampled_from([*WORDS.split(), "''", '"\\ud800"', "<<", "=", "é", "2001-01-01"])
marks = st.sampled_from([*MARKS, "\t", "---\n"])
texts = st.lists(words | marks | st.text(max_size=3), max_size=25).map("".join)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(texts)
def test_any_text_is_a_configuration_or_one_line(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzzed.yaml"
    path.write_text(text, encoding="utf-8", errors="surrogatepass")
    for start in ("", MINIMAL):
        path.write_text(start + text, encoding="utf-8", errors="surrogatepass")
        try:
            config = load_config(path)
        except MedlangevinError as error:
            assert len(str(error).splitlines()) == 1  # noqa: PT017
        else:
            assert parse_config(yaml.safe_load(dump_config(config)), source="x") == config


SCHEMA_KEYS = sorted(Config.model_fields)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(["vae", "conv"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=4) | st.integers() | st.sampled_from(SCHEMA_KEYS), inner, max_size=3)
    ),
    max_leaves=8,
)


def sections(schema: Any) -> st.SearchStrategy[dict[str, Any]]:
    """Mappings with the keys of ``schema``: of its sections the same, of the rest anything."""
    parts = {
        name: sections(field.annotation) | values if hasattr(field.annotation, "model_fields") else values
        for name, field in schema.model_fields.items()
    }
    return st.fixed_dictionaries({}, optional=parts)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(sections(Config))
def test_any_values_under_the_right_keys_are_a_configuration_or_one_line(raw: dict[str, Any]) -> None:
    for given_ in (raw, {"name": "a", "model": {"kind": "vae"}} | raw):
        try:
            config = parse_config(given_, source="x")
        except MedlangevinError as error:
            assert len(str(error).splitlines()) == 1  # noqa: PT017
        else:
            assert parse_config(yaml.safe_load(dump_config(config)), source="x") == config


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.lists(words | marks | st.text(max_size=3) | st.just("."), max_size=6).map("".join))
def test_any_override_is_taken_or_one_line(tmp_path_factory: pytest.TempPathFactory, override: str) -> None:
    path = tmp_path_factory.getbasetemp() / "sound.yaml"
    path.write_text(MINIMAL)
    for text in (override, f"{override}={override}", f"seed={override}"):
        try:
            load_config(path, (text,))
        except MedlangevinError as error:
            assert str(error)  # noqa: PT017


def test_the_deepest_sound_text_is_read() -> None:
    assert parse_yaml("[" * 40 + "]" * 40, "x") is not None
    assert parse_yaml(f"{2**63 - 1}", "x") == 2**63 - 1

"""YAML from strangers: any text is a valid configuration or one line, at once and in little memory."""

import tracemalloc
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from medlangevin.config import Config, dump_config, load_config, parse_config
from medlangevin.config.schema import Place
from medlangevin.config.yaml_text import parse_yaml
from medlangevin.papers.table.folder import require_ours
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
    "a long sexagesimal fraction": (MINIMAL + "seed: 1" + ":1" * 1000 + ".5", "too large"),
    "a number of 64 bits": (MINIMAL + f"seed: {2**63}", "64 bits"),
    "NUL": (MINIMAL + 'output_dir: "a\\0b"\n', "NUL"),
    "a long word": ("name: " + "a" * 10_000 + "\nmodel: {kind: vae}\n", "'name'"),
}  # fmt: skip


# What is told instead of a file that may hold aliases.
OWN = {"billion laughs": "more than 10000 values with its aliases written out"}


def load_own(path: Path) -> Config:
    return load_config(path, aliases=True)


@pytest.mark.slow
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_one_short_line_and_takes_no_memory(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text, message = HOSTILE[name]
    path = Path("config.yaml")
    path.write_text(text)
    tracemalloc.start()
    for read, told in ((load_config, message), (load_own, OWN.get(name, message)), (load_table, "")):
        with pytest.raises(MedlangevinError) as error:
            read(path)
        assert told in str(error.value)
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


@pytest.mark.slow
@settings(max_examples=300, deadline=None, derandomize=True)
@given(texts)
def test_any_text_is_a_configuration_or_one_line(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzzed.yaml"
    path.write_text(text, encoding="utf-8", errors="surrogatepass")
    for start in ("", MINIMAL):
        path.write_text(start + text, encoding="utf-8", errors="surrogatepass")
        for read in (load_config, load_own):
            try:
                config = read(path)
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


def sections(annotation: Any) -> st.SearchStrategy[Any]:
    """Mappings with the keys of any kind of section that may stand there: of its sections the same, of the rest any."""
    kinds = Place(annotation).sections()
    if not kinds:
        return values
    return st.one_of(
        [
            st.fixed_dictionaries(
                {},
                optional={
                    name: st.sampled_from(get_args(field.annotation)) | values
                    if get_origin(field.annotation) is Literal
                    else sections(field.annotation) | values
                    for name, field in kind.model_fields.items()
                },
            )
            for kind in kinds
        ]
    )


@pytest.mark.slow
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


def written_out(text: str) -> Any:
    return parse_yaml(text, "x", aliases=True)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("a: &x {k: 1}\nb: *x\n", {"a": {"k": 1}, "b": {"k": 1}}),
        ("a: &x [1, 2]\nb: [*x, *x]\n", {"a": [1, 2], "b": [[1, 2], [1, 2]]}),
        ("a: &x {k: 1, l: 2}\nb: {<<: *x, k: 3}\n", {"a": {"k": 1, "l": 2}, "b": {"k": 3, "l": 2}}),
        ("a: &x {k: 1}\nb: &y {l: 2}\nc: {<<: [*x, *y]}\n", {"a": {"k": 1}, "b": {"l": 2}, "c": {"k": 1, "l": 2}}),
        # What merges may be merged, also from below: PyYAML writes c out before b.
        ("a: &x {k: 1}\np: {q: {b: &y {<<: *x, k: 2}}}\nc: {<<: *y}\n",
         {"a": {"k": 1}, "p": {"q": {"b": {"k": 2}}}, "c": {"k": 2}}),
        ("a: &x 5\nb: *x\n", {"a": 5, "b": 5}),
    ],
)  # fmt: skip
def test_aliases_are_written_out_in_files_of_the_users_own(text: str, values: Any) -> None:
    assert written_out(text) == values
    with pytest.raises(MedlangevinError, match="aliases"):
        parse_yaml(text, "x")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: &x {k: 1, k: 2}\nb: *x\n", "key 'k' is given twice"),
        ("a: &x {k: 1}\nb: {<<: *x, l: 1, l: 2}\n", "key 'l' is given twice"),
        ("a: &x {k: 1}\nb: {<<: *x, <<: *x}\n", "key '<<' is given twice"),
        ("a: &x [*x]\n", "inside what it names"),
        ("a: &x {k: {l: *x}}\n", "inside what it names"),
        ("a: *y\n", "not valid YAML"),
        ("a: &x {[k]: 1}\nb: {<<: *x}\n", "not valid YAML"),
        ("a: &x 1\nb: {<<: *x}\n", "not valid YAML"),
        (f"a: &x [{', '.join('1' * 5000)}]\nb: [*x, *x]\n", "more than 10000 values"),
        (f"a: &x {'[' * 30}{']' * 30}\nb: &y {'[' * 20}*x{']' * 20}\n", "more than 40 levels"),
        ("a: &a {k: 1}\n" + "".join(f"{y}: &{y} {{<<: [*{x}, *{x}, *{x}, *{x}, *{x}]}}\n"
                                    for x, y in zip("abcdefg", "bcdefgh", strict=True)), "more than 10000 values"),
    ],
)  # fmt: skip
def test_aliases_are_bounded_and_no_key_is_given_twice(text: str, message: str) -> None:
    tracemalloc.start()
    with pytest.raises(MedlangevinError, match=message) as error:
        written_out(text)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert "\n" not in str(error.value)
    assert peak < 64 * 2**20


def test_a_table_may_hold_aliases_and_the_marker_in_its_folder_may_not(tmp_path: Path) -> None:
    shipped = load_table(Path(__file__).parents[2] / "configs" / "benchmarks" / "qsl_table1.yaml")
    flows = [shipped.rows[row].model["flow"] for row in ("qsl_k5", "qsl_damped_k5", "annealed_k5")]
    assert [flow["damping"] for flow in flows] == [0.0, 0.01, 0.1]
    assert {flow["step_size"] for flow in flows} == {0.2}
    (tmp_path / "benchmark.yaml").write_text("title: &name qsl_table1\nname: *name\n")
    with pytest.raises(MedlangevinError, match="damaged"):
        require_ours(tmp_path, shipped)
    (tmp_path / "benchmark.yaml").write_text("title: qsl_table1\nname: qsl_table1\n")
    require_ours(tmp_path, shipped)


def test_as_many_values_and_levels_as_are_taken_are_taken() -> None:
    assert written_out(f"a: &x [{', '.join('1' * 4900)}]\nb: *x\n")["b"] == [1] * 4900
    assert written_out(f"&x {'[' * 20}{']' * 20}\n") is not None
    assert written_out(f"a: &x {'[' * 19}{']' * 19}\nb: {'[' * 20}*x{']' * 20}\n") is not None

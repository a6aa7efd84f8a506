"""Every command, every kind of wrong use: exit code 2, one line, nothing written."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from medlangevin.cli.main import main

Call = Callable[..., Result]

# Of each command: what it is called with. {run}, {data}, {synthetic}, {config}, {table}: sound inputs; {none}: absent;
# {file}: a file where a folder is expected; {folder}: the reverse; {below}: cannot be made; {taken}: holds files of
# others; {long}: a name that no file system takes; {out}: may be written.
WRONG = {
    "preprocess": [
        "",
        "--raw {none} --out {out}",
        "--raw {file} --out {out}",
        "--raw {folder} --out {out}",
        "--raw {data} --out {file}",
        "--raw {data} --out {below}",
        "--raw {data} --out {taken}",
        "--raw {data} --out {data}",
        "--raw {data} --out {long}",
        "--raw {long} --out {out}",
        "--raw {data} --out {out} --reference {none}",
        "--raw {data} --out {out} --reference {folder}",
        "--raw {data} --out {out} --key {folder}",
        "--raw {data} --out {out} --shard 3/2",
        "--merge --out {none}",
        "--raw {folder} --build-reference {folder}",
    ],
    "train": [
        "{none}",
        "{folder}",
        "{long}",
        "{config}",
        "{config} --set name=new --set output_dir={file}",
        "{config} --set name=new --set output_dir={below}",
        "{config} --set output_dir={long}",
        "{config} --set name=new --set data.root={none}",
        "{config} --set name=new --set data.root={file}",
        "{config} --set name=new --set data.root={long}",
        "{config} --set nme=new",
        "{config} --devices 1000",
    ],
    "evaluate": [
        "{none}",
        "{file}",
        "{folder}",
        "{long}",
        "{run} --data {none}",
        "{run} --data {file}",
        "{run} --compare {none}",
        "{run} --chains 3",
    ],
    "generate": [
        "{none} --count 1 --out {out}",
        "{file} --count 1 --out {out}",
        "{folder} --count 1 --out {out}",
        "{run} --out {out}",
        "{run} --count 1 --out {file}",
        "{run} --count 1 --out {below}",
        "{run} --count 1 --out {taken}",
        "{run} --count 1 --out {long}",
        "{run} --count 1 --out {out} --like {none}",
        "{run} --count 1 --out {out} --like {folder}",
        "{run} --count 1 --out {out} --like {file}",
        "{run} --count 2 --out {out} --between {none} {none}",
        "{run} --traverse --directions 9 --out {out}",
        "{run} --traverse --data {none} --out {out}",
    ],
    "posterior": [
        "{none} {crop} --out {out}",
        "{run} {none} --out {out}",
        "{run} {folder} --out {out}",
        "{run} {file} --out {out}",
        "{run} {crop} --out {file}",
        "{run} {crop} --out {below} --draws 4 --warmup 1 --measured 1",
        "{run} {crop} --out {taken}",
        "{run} {crop} --out {long} --draws 4 --warmup 1 --measured 1",
        "{run} {crop} --out {out} --draws 4 --measured 100",
    ],
    "audit": [
        "{none} --synthetic {synthetic} --out {out}",
        "{run} --synthetic {none} --out {out}",
        "{run} --synthetic {file} --out {out}",
        "{run} --synthetic {folder} --out {out}",
        "{run} --synthetic {synthetic} --out {file}",
        "{run} --synthetic {synthetic} --out {below}",
        "{run} --synthetic {synthetic} --out {taken}",
        "{run} --synthetic {synthetic} --out {long}",
        "{run} --synthetic {synthetic} --data {none} --out {out}",
    ],
    "shape": [
        "{none}",
        "{file}",
        "{folder}",
        "{long}",
        "{synthetic} --out {file}",
        "{synthetic} --out {below} --workers 1",
        "{synthetic} --out {long} --workers 1",
        "{synthetic} --out {out} --compare {none}",
        "{synthetic} --out {out} --compare {file}",
        "{synthetic} --out {out} --mesh-space RAS",
    ],
    "report": [
        "{none} --out {out}",
        "{file} --out {out}",
        "{run} --out {folder}",
        "{run} --out {below}",
        "{run} --out {long}",
        "{run} --out {out} --data {none}",
        "{run} --out {out} --synthetic {none}",
        "{run} --out {out} --synthetic {file}",
    ],
    "phantom": [
        "--out {file} --ears 1",
        "--out {below} --ears 1 --workers 1",
        "--out {out} --ears 0",
        "--out {out} --seed -1",
    ],
    "demo": ["--out {file}", "--out {below}", "--out {taken}", "--out {long}", "--out {out} --seed -1"],
    "toy": [
        "gaussian --out {file}",
        "gaussian --out {below}",
        "gaussian --out {taken}",
        "neural --out {long}",
        "neural --out {out} --steps 1",
    ],
    "benchmark": [
        "{none} --out {out}",
        "{folder} --out {out}",
        "{file} --out {out}",
        "{table} --out {file}",
        "{table} --out {below}",
        "{table} --out {taken}",
        "{table} --out {long}",
        "{table} --out {out} --data-root {none}",
        "{table} --out {out} --only nothing-*",
    ],
    "export": [
        "{none} --bundle {out}",
        "{folder} --bundle {out}",
        "{run} --bundle {file}",
        "{run} --bundle {below}",
        "{run} --bundle {taken}",
    ],
    "doctor": ["{folder}"],
}
NEEDS_NO_ARGUMENT = {"demo", "doctor", "preprocess"}


@pytest.fixture(scope="module")
def places(small: Any, table: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("places")
    shutil.copytree(small.run, root / "run")
    for name in ("folder", "taken"):
        (root / name).mkdir()
    (root / "taken" / "thesis.tex").write_text("mine")
    (root / "file").write_text("mine")
    return {
        "run": root / "run",
        "data": small.data,
        "crop": next(small.data.glob("*.nii.gz")),
        "synthetic": small.synthetic,
        "config": small.config,
        "table": table,
        "none": root / "none",
        "file": root / "file",
        "below": root / "file" / "below",
        "folder": root / "folder",
        "taken": root / "taken",
        "out": root / "out",
        "long": root / ("a" * 5000),
    }


def everything(places: dict[str, Path], small: Any) -> dict[Path, int]:
    """Every file and folder, and when it was changed."""
    roots = (places["run"].parent, small.data.parent, places["table"].parent)
    return {path: path.stat().st_mtime_ns for root in roots for path in (root, *root.rglob("*"))}


def test_no_command_is_left_out() -> None:
    assert WRONG.keys() >= main.commands.keys()


@pytest.mark.parametrize("name", sorted(main.commands))
def test_wrong_use_is_one_line_with_exit_code_2_and_writes_nothing(
    name: str, places: dict[str, Path], small: Any, call: Call
) -> None:
    before = everything(places, small)
    for text in WRONG[name]:
        result = call(name, *text.format(**places).split())
        assert result.exit_code == 2, (text, result.output, result.exception)
        told = result.stderr.splitlines()
        if told[0].startswith("Usage: "):  # click's own
            assert told[-1].startswith("Error: "), text
        else:
            assert told[0].startswith("error: "), (text, result.stderr)
            assert len(told) == 1, (text, result.stderr)
        assert everything(places, small) == before, text


@pytest.mark.parametrize("name", sorted(set(main.commands) - NEEDS_NO_ARGUMENT))
def test_a_missing_argument_is_wrong_use(name: str, call: Call) -> None:
    result = call(name)
    assert result.exit_code == 2
    assert result.stderr.startswith("Usage: ")


@pytest.mark.parametrize("name", sorted(main.commands))
def test_an_unknown_option_is_wrong_use(name: str, call: Call) -> None:
    result = call(name, "--no-such-option")
    assert result.exit_code == 2
    assert "No such option" in result.stderr


@pytest.mark.parametrize("text", ["generate none --out out --count 2", "posterior none a --out out", "evaluate none"])
def test_a_seed_that_no_json_file_can_hold_is_said_before_the_work(text: str, call: Call) -> None:
    for seed in (2**70, -(2**63)):
        result = call(*text.split(), "--seed", str(seed))
        assert result.exit_code == 2
        assert f"Invalid value for '--seed': {seed}" in result.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("generate none --out out", "--count is missing"),
        ("generate none --out out --count 2 --strength 0.5", "--strength belongs to --like"),
        ("generate none --out out --count 2 --steps 3", "belong to --traverse"),
        ("generate none --out out --count 2 --data d", "belongs to --fitted or --traverse"),
        ("generate none --out out --traverse --count 2", "leave --count out"),
        ("generate none --out out --count 2 --like a --between a b", "exclude one another"),
        ("posterior none a.nii.gz --out out", "does not exist"),
        ("audit none --synthetic s --out out", "does not exist"),
        ("export none --bundle out", "does not exist"),
        ("export . --bundle out", "is not the folder of a run"),
    ],
)
def test_the_line_says_what_is_wrong(
    text: str, words: str, call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = call(*text.split())
    assert result.exit_code == 2
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert words in result.stderr
    assert not list(tmp_path.iterdir())

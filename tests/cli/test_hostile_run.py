"""A run folder from a stranger is data: whatever is put in it, no code runs and each command ends in one line."""

import copy
import json
import pickle
import shutil
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

Call = Callable[..., Result]


class Trap:
    """Makes a folder when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Callable[..., object], tuple[Path]]:
        return Path.mkdir, (self.marker,)


@pytest.fixture
def run(small: Any, tmp_path: Path) -> Path:
    """A copy to be harmed."""
    return Path(shutil.copytree(small.run, tmp_path / "runs" / "small"))


def commands(run: Path, small: Any, out: Path) -> Iterator[tuple[object, ...]]:
    """All that read a run, with little work; the names of their outputs are new each time."""
    yield "train", small.config, "--set", f"output_dir={run.parent}", "--set", "training.epochs=3", "--resume"
    yield "evaluate", run, "--samples", 1
    yield "evaluate", small.run, "--samples", 2, "--compare", run
    yield "generate", run, "--count", 1, "--out", out / "generated"
    yield "report", run, "--out", out / "report.html"


# Which of them read what; files that are not named are read by none, or as pictures.
READ_BY = {
    "config.yaml": (0, 3),
    "data.json": (0, 3),
    "metrics.csv": (0,),
    "evaluation.json": (2, 4),
    "environment.json": (4,),
    "model.safetensors": (0, 3),
    "training.safetensors": (0,),
    "training.json": (0, 3),
}


def require_harmless(result: Result, text: str) -> None:
    """Done, or one line and exit code 2; no other exception."""
    assert result.exit_code in (0, 2), (text, result.output, result.exception)
    if result.exit_code == 2:
        assert result.stderr.startswith("error: "), (text, result.stderr)
        assert len(result.stderr.splitlines()) == 1, (text, result.stderr)


@pytest.mark.slow
def test_a_pickle_in_place_of_any_file_of_a_run_is_never_opened_as_one(
    small: Any, run: Path, call: Call, tmp_path: Path
) -> None:
    marker = tmp_path / "sprung"
    files = sorted(path.relative_to(run) for path in run.rglob("*") if path.is_file())
    assert {path.name for path in files} > {"config.yaml", "data.json", "model.safetensors", "training.safetensors"}
    refused = 0
    for number, name in enumerate(files):
        for position, command in enumerate(commands(run, small, tmp_path / str(number))):
            if position not in READ_BY.get(name.name, ()):
                continue
            shutil.rmtree(run)
            shutil.copytree(small.run, run)
            (run / name).write_bytes(pickle.dumps(Trap(marker)))
            result = call(*command)
            require_harmless(result, f"{command[0]} with {name}")
            refused += result.exit_code == 2
            assert not marker.exists(), f"{command[0]} ran the code in {name}"
    assert refused > 6
    pickle.loads(pickle.dumps(Trap(marker)))
    assert marker.exists(), "the trap does not spring at all"


HOSTILE: list = [None, True, -1, 10**15, 2.5, "", "../../../etc/passwd", "\u0000\u001b[2J\n", [], [[]], {}, {"a": None}]


def changed(value: Any) -> Iterator[tuple[str, Any]]:
    """``value`` with each of its parts in turn replaced by something else; lists stand for their first element."""
    keys = list(value) if isinstance(value, dict) else range(min(1, len(value))) if isinstance(value, list) else []
    for key in keys:
        for other in HOSTILE:
            copied = copy.deepcopy(value)
            copied[key] = other
            yield f"{key} = {other!r}", copied
        for path, part in changed(value[key]):
            copied = copy.deepcopy(value)
            copied[key] = part
            yield f"{key}.{path}", copied


# A file, by which of the commands above it is read, and each how many-th case is tried: some commands take long.
@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "reader", "stride"),
    [
        ("data.json", 3, 5),
        ("checkpoints/best/training.json", 3, 3),
        ("checkpoints/last/training.json", 0, 7),
        ("evaluation.json", 2, 11),
        ("environment.json", 4, 17),
    ],
)
def test_any_value_in_a_json_file_of_a_run_is_taken_or_told(
    name: str, reader: int, stride: int, small: Any, run: Path, call: Call, tmp_path: Path
) -> None:
    sound = json.loads((run / name).read_text())
    cases = list(changed(sound))[::stride]
    for number, (text, value) in enumerate(cases):
        (run / name).write_text(json.dumps(value))
        command = list(commands(run, small, tmp_path / str(number)))[reader]
        require_harmless(call(*command), f"{command[0]}: {name}, {text}")
    assert len(cases) > 5


@pytest.mark.parametrize("text", ["NaN", "1e999", "-Infinity", "9" * 5000, "[" * 100_000, '{"a":' * 50_000, "\ud800"])
def test_numbers_and_depths_that_json_does_not_know_are_told(text: str, run: Path, call: Call, tmp_path: Path) -> None:
    for name in ("data.json", "checkpoints/best/training.json"):
        sound = (run / name).read_text()
        key = '"epoch"' if "training" in name else '"shape"'
        (run / name).write_text(sound.replace(key, f'"x": {text}, {key}'), encoding="utf-8", errors="surrogatepass")
        result = call("generate", run, "--count", 1, "--out", tmp_path / "out")
        assert result.exit_code == 2
        require_harmless(result, name)
        (run / name).write_text(sound)


def test_a_config_that_asks_for_more_than_the_weights_hold_takes_no_memory(
    run: Path, call: Call, tmp_path: Path
) -> None:
    """A thousand gigabytes, if they were set aside."""
    text = (run / "config.yaml").read_text()
    assert "hidden: 4" in text
    (run / "config.yaml").write_text(text.replace("hidden: 4", "hidden: 16384"))
    about = json.loads((run / "data.json").read_text())
    (run / "data.json").write_text(json.dumps(about | {"shape": [1024, 1024, 1024]}))
    result = call("generate", run, "--count", 1, "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert "holds the weights of another model" in result.stderr


def test_a_listing_can_name_any_file_but_only_images_are_read(small: Any, call: Call, tmp_path: Path) -> None:
    data = Path(shutil.copytree(small.data, tmp_path / "data"))
    secret = tmp_path / "secret.txt"
    secret.write_text("top secret")
    (data / "link.nii.gz").symlink_to(secret)
    listing = json.loads((data / "dataset.json").read_text())
    for image in (
        "../secret.txt",
        str(secret),
        "link.nii.gz",
        "/etc/passwd",
        "/dev/zero",
        "",
        ".",
        "a\u0000b",
        "x" * 5000,
    ):
        listing["test"][0]["image"] = image
        (data / "dataset.json").write_text(json.dumps(listing))
        for command in (
            ("evaluate", small.run, "--data", data, "--samples", 1),
            ("shape", data, "--out", tmp_path / "shape", "--workers", 1),
            ("report", small.run, "--data", data, "--out", tmp_path / "report.html"),
        ):
            result = call(*command)
            assert result.exit_code in (1, 2), (image, result.output, result.exception)
            assert len(result.stderr.splitlines()) == 1, (image, result.stderr)
            assert "top secret" not in result.output
    assert not (tmp_path / "report.html").exists()


def test_the_marker_of_a_table_is_data_too(table: Path, call: Call, tmp_path: Path) -> None:
    laughs = "".join(f"{y}: &{y} [{', '.join([f'*{x}'] * 8)}]\n" for x, y in pairwise("abcdefghijk"))
    out = tmp_path / "out"
    out.mkdir()
    for text in (f"a: &a [ha]\n{laughs}name: *k\n", "name: !!python/name:os.getcwd\n", "[" * 10_000, "- 1\n"):
        (out / "benchmark.yaml").write_text(text)
        result = call("benchmark", table, "--out", out, "--data-root", table.parent)
        assert result.exit_code == 2
        require_harmless(result, text[:40])
        assert "benchmark.yaml is damaged" in result.stderr

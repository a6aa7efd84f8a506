"""generate's modes, posterior and audit from the command line: wrong use is one line with exit code 2."""

import pytest
from click.testing import CliRunner

from medlangevin.cli.main import main


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["generate", "none", "--out", "out"], "--count is missing"),
        (["generate", "none", "--out", "out", "--count", "2", "--strength", "0.5"], "--strength belongs to --like"),
        (["generate", "none", "--out", "out", "--count", "2", "--steps", "3"], "belong to --traverse"),
        (["generate", "none", "--out", "out", "--count", "2", "--data", "d"], "belongs to --fitted or --traverse"),
        (["generate", "none", "--out", "out", "--traverse", "--count", "2"], "leave --count out"),
        (
            ["generate", "none", "--out", "out", "--count", "2", "--like", "a", "--between", "a", "b"],
            "exclude one another",
        ),
        (["posterior", "none", "a.nii.gz", "--out", "out"], "does not exist"),
        (["audit", "none", "--synthetic", "s", "--out", "out"], "does not exist"),
    ],
)
def test_wrong_use_is_one_line(arguments, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert words in result.stderr
    assert not list(tmp_path.iterdir())

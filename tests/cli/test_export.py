"""medlangevin export: one line when it is done, one line and exit code 2 when it cannot be."""

from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from medlangevin.cli.main import main
from medlangevin.evaluation.bundle import export as room


def test_done_is_one_line(tmp_path, monkeypatch):
    called = SimpleNamespace()

    def export(run, bundle, *, checkpoint):
        called.values = (str(run), str(bundle), checkpoint)
        bundle.mkdir()
        (bundle / "weights").write_bytes(bytes(2_500_000))
        return bundle

    monkeypatch.setattr(room, "export", export)
    bundle = str(tmp_path / "bundle")
    result = CliRunner().invoke(main, ["export", "runs/a", "--bundle", bundle, "--checkpoint", "last"])
    assert (result.exit_code, called.values) == (0, ("runs/a", bundle, "last"))
    assert result.output == f"bundle {bundle} (2.5 MB); see {bundle}/docs/README.md\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(["none", "--bundle", "out"], "does not exist"), ([".", "--bundle", "out"], "is not the folder of a run")],
)
def test_wrong_use_is_one_line(arguments, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, ["export", *arguments])
    assert result.exit_code == 2
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert words in result.stderr
    assert not list(tmp_path.iterdir())

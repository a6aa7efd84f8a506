"""medlangevin export: one line when it is done."""

from types import SimpleNamespace

from click.testing import CliRunner

from medlangevin.cli.main import main
from medlangevin.inference.bundle import export as room


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

"""What the doctor finds, on machines that are made ill for it."""

import shutil
import socket
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from medlangevin.cli.main import main
from medlangevin.doctor import decoders, examine, installation, places
from medlangevin.doctor.finding import Finding


def states(findings: Any) -> list[str]:
    return [finding.state for finding in findings]


def test_a_sound_machine_has_exit_code_0_and_a_line_a_finding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MEDLANGEVIN_DATA", raising=False)
    monkeypatch.setattr(examine, "packages", lambda: iter([Finding("ok", "all of them")]))
    result = CliRunner().invoke(main, ["doctor"])
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert all(line.split()[0] in ("ok", "warn") for line in lines)
    said = ("all of them", "processor: ", "JPEG 2000", str(tmp_path), "no crops in", "MEDLANGEVIN_DATA", "memory: ")
    for words in said:
        assert any(words in line for line in lines), words
    assert list(tmp_path.iterdir()) == []


def test_what_fails_is_exit_code_1_and_the_rest_is_still_examined(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> Any:
        raise ImportError("libfoo.so\nis missing")

    monkeypatch.setattr(examine, "devices", broken)
    monkeypatch.setattr(examine, "packages", lambda: iter([]))
    monkeypatch.setattr(examine, "decoders", lambda: iter([]))
    result = CliRunner().invoke(main, ["doctor"])
    assert result.exit_code == 1
    assert "fail  the devices could not be examined (ImportError: libfoo.so is missing); install again" in result.output
    assert "memory: " in result.output


def test_packages_that_are_absent_old_or_do_not_load_come_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    installed = {"torch": "2.0.0", "numpy": "2.4.0", "scipy": "1.99"}

    def version(name: str) -> str:
        if name not in installed:
            raise PackageNotFoundError(name)
        return installed[name]

    def load(name: str) -> None:
        if name == "scipy":
            raise OSError("libopenblas.so: no such file")

    needed = ["torch>=2.11", "numpy>=2.0", "nibabel>=5.3", "scipy>=1.13", 'pytest>=8; extra == "dev"']
    monkeypatch.setattr(installation, "requires", lambda _: needed)
    monkeypatch.setattr(installation, "version", version)
    monkeypatch.setattr(installation, "import_module", load)
    lines = [finding.line() for finding in installation.packages()]
    assert lines[1:] == [
        'fail  torch 2.0.0 is not >=2.11; python -m pip install "torch>=2.11"',
        'fail  nibabel is absent; python -m pip install "nibabel>=5.3"',
        'fail  scipy 1.99 does not load (OSError: libopenblas.so: no such file); python -m pip install "scipy>=1.13"',
        "ok    numpy 2.4.0",
    ]


@pytest.mark.parametrize("compression", decoders.COMPRESSIONS, ids=lambda item: item.name)
def test_each_compression_is_decoded_and_one_that_shows_another_image_is_not(
    compression: decoders.Compression, monkeypatch: pytest.MonkeyPatch
) -> None:
    readable = decoders.can_read(compression)
    if compression.otherwise == "warn" and not readable:
        pytest.skip(f"this SimpleITK does not read {compression.name}")
    assert readable
    if compression.code:  # the frames were written by other programs
        monkeypatch.setattr(decoders, "IMAGE", decoders.IMAGE + np.uint16(1))
        assert not decoders.can_read(compression)


def test_a_missing_decoder_is_named_with_the_plugin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoders, "can_read", lambda item: item.name not in ("JPEG-LS", "High-Throughput JPEG 2000"))
    first, second, rest = decoders.decoders()
    assert (first.state, second.state) == ("fail", "warn")
    assert "JPEG-LS (1.2.840.10008.1.2.4.80) cannot be read" in first.what
    assert "pip install SimpleITK pylibjpeg pylibjpeg-libjpeg" in first.to_do
    assert "JPEG 2000" in rest.what
    assert "High" not in rest.what


def test_a_driver_that_torch_cannot_use_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(shutil, "which", lambda name: "/usr/bin/nvidia-smi")
    assert states(installation.devices())[:2] == ["ok", "warn"]
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setattr(installation, "_DRIVER", Path("/nowhere"))
    assert states(installation.devices())[:2] == ["ok", "ok"]


def test_folders_that_cannot_be_written_and_full_disks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert places.writable(tmp_path / "none", "runs/", "go away").state == "fail"
    for free_gb, state in ((0.5, "fail"), (5, "warn"), (50, "ok")):
        usage = shutil.disk_usage(tmp_path)._replace(free=int(free_gb * 1e9))
        monkeypatch.setattr(shutil, "disk_usage", lambda _, usage=usage: usage)
        assert places.writable(tmp_path, "the folder", "go away").state == state


def test_data_roots_are_found_or_said_to_be_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDLANGEVIN_DATA", str(tmp_path / "nowhere"))
    found = [item for item in places.places(tmp_path) if "benchmark images" in item.what]
    assert [(item.state, item.to_do) for item in found] == [("warn", "correct MEDLANGEVIN_DATA")]
    (tmp_path / "data" / "cochlea").mkdir(parents=True)
    (tmp_path / "data" / "cochlea" / "dataset.json").write_text("{}")
    (tmp_path / "nowhere").mkdir()
    assert set(states(places.places(tmp_path))) <= {"ok", "warn"}
    assert f"crops: {tmp_path / 'data' / 'cochlea'}" in [item.what for item in places.places(tmp_path)]


def test_it_opens_no_connection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise ConnectionError

    for name in ("socket", "create_connection", "getaddrinfo"):
        monkeypatch.setattr(socket, name, refuse)
    assert not [item for item in examine.examine(tmp_path) if "could not be examined" in item.what]

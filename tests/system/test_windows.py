"""What Windows lacks is done without: some modules, some error numbers, and folders that can be flushed."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from medlangevin.system import files
from medlangevin.system.files import atomic_folder, read_json, write_json, write_text

WITHOUT = """
import errno, sys
for module in ("fcntl", "resource"):
    sys.modules[module] = None
for name in ("EDQUOT", "ESTALE"):
    delattr(errno, name)
import medlangevin.cli.main
import medlangevin.runs.environment
from medlangevin.system.files import DISK_FAULTS, FULL_DISK
from medlangevin.system.lock import locked
with locked(__import__("pathlib").Path(sys.argv[1]), shared=False, busy="busy") as real:
    print(real, errno.ENOSPC in FULL_DISK < DISK_FAULTS)
"""


@pytest.mark.slow
def test_the_program_starts_and_locks_without_modules_and_error_numbers_that_windows_lacks(tmp_path: Path) -> None:
    argv = [sys.executable, "-c", WITHOUT, str(tmp_path / "lock")]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("False True\n", 0), done.stderr


def test_no_file_of_the_product_is_loaded_with_a_module_that_windows_lacks() -> None:
    root = Path(files.__file__).parents[1]
    found = [
        f"{path.relative_to(root)}: {name}"
        for path in root.rglob("*.py")
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [str(node.module)]
            if isinstance(node, ast.ImportFrom)
            else []
        )
        if name in ("fcntl", "grp", "pwd", "resource", "termios")
    ]
    assert found == []


def test_files_are_written_where_folders_cannot_be_opened_nor_what_is_read_be_flushed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real_open = os.open

    def as_windows_does(path: Path, flags: int, *mode: int, **more: int) -> int:
        if Path(path).is_dir() and "dir_fd" not in more:
            raise PermissionError(13, "Permission denied")
        return real_open(path, flags, *mode, **more)

    real_fsync = os.fsync

    def only_if_writable(descriptor: int) -> None:
        os.write(descriptor, b"")
        real_fsync(descriptor)

    monkeypatch.setattr(files, "_WINDOWS", True)
    monkeypatch.setattr(os, "open", as_windows_does)
    monkeypatch.setattr(os, "fsync", only_if_writable)
    write_json(tmp_path / "a.json", [1])
    with atomic_folder(tmp_path / "folder") as temporary:
        write_text(temporary / "b.txt", "b")
    assert (read_json(tmp_path / "a.json"), (tmp_path / "folder" / "b.txt").read_text()) == ([1], "b")

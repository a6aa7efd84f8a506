"""make audit: vulnerabilities fail, a closed network does not, a broken tool does."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

AUDIT = Path(__file__).parents[2] / ".ci" / "audit.py"
SOUND = {"name": "a", "version": "1", "vulns": []}
BAD = {"name": "b", "version": "2", "vulns": [{"id": "CVE-1", "fix_versions": ["3"]}]}
UNKNOWN = {"name": "c", "skip_reason": "Dependency not found"}


@pytest.mark.parametrize(
    ("answer", "code", "told"),
    [
        ([SOUND, UNKNOWN], 0, "1 packages audited, 1 unknown, 0 vulnerabilities\n"),
        ([SOUND, BAD], 1, "b 2: CVE-1, fixed in 3\n2 packages audited, 0 unknown, 1 vulnerabilities\n"),
        ([UNKNOWN], 0, "audit skipped: the vulnerability service knows none of the 1 packages from here\n"),
        ("requests.exceptions.ConnectionError: no route", 0, "audit skipped: no vulnerability service answers"),
        ("ZeroDivisionError", 2, ""),
    ],
)
def test_what_the_audit_makes_of_an_answer(tmp_path: Path, answer: object, code: int, told: str) -> None:
    text = json.dumps({"dependencies": answer})
    program = f"print({text!r})" if isinstance(answer, list) else f"raise SystemExit({answer!r})"
    (tmp_path / "pip_audit.py").write_text(program)
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run([sys.executable, AUDIT], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == code, done.stderr
    assert done.stdout.startswith(told)

"""Known vulnerabilities of the packages beside this Python, by pip-audit. Exit code 1 where there are any.

Where no vulnerability service answers, one line says so and nothing fails: a closed network is no finding.
"""

import json
import subprocess
import sys

COMMAND = [*("-m", "pip_audit", "--local", "--skip-editable"), *("--progress-spinner", "off", "--format", "json")]
NO_ANSWER = ("ConnectionError", "ConnectionFailed", "ConnectTimeout", "ReadTimeout", "ProxyError", "ServiceError")


def main() -> int:
    """Audit, print, and return the exit code."""
    done = subprocess.run([sys.executable, *COMMAND], capture_output=True, text=True, check=False)
    try:
        packages = json.loads(done.stdout)["dependencies"]
    except ValueError:
        if any(word in done.stderr for word in NO_ANSWER):
            print("audit skipped: no vulnerability service answers from here")
            return 0
        print(done.stderr, file=sys.stderr)
        return 2
    known = [item for item in packages if "vulns" in item]
    if not known:
        print(f"audit skipped: the vulnerability service knows none of the {len(packages)} packages from here")
        return 0
    found = [(item, problem) for item in known for problem in item["vulns"]]
    for item, problem in found:
        fixed = ", ".join(problem["fix_versions"]) or "no version yet"
        print(f"{item['name']} {item['version']}: {problem['id']}, fixed in {fixed}")
    print(f"{len(known)} packages audited, {len(packages) - len(known)} unknown, {len(found)} vulnerabilities")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())

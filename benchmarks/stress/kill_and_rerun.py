"""Kill a run of preprocess at random moments, go on each time, and compare the files with an undisturbed run's.

python benchmarks/stress/kill_and_rerun.py [--ears 6] [--kills 20] [--workers 2] [--raw DIR]

Makes phantom scans unless --raw names others. Prints the moments and whether all files are the same, byte for byte.
Needs a quiet machine or patience: every start imports the program anew.
"""

import argparse
import hashlib
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "medlangevin", *arguments]


def contents(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def broken(out: Path, whole: dict[str, str]) -> list[str]:
    """Files that an undisturbed run would not have, but for those of a run at work."""
    return [
        name
        for name, digest in contents(out).items()
        if whole.get(name) != digest and not name.startswith("parts/") and "/.partial-" not in f"/{name}"
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ears", type=int, default=6)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--raw", type=Path)
    options = parser.parse_args()
    moments = random.Random(0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        raw = options.raw or folder / "phantom" / "dicom"
        if options.raw is None:
            subprocess.run(
                command("phantom", "--out", str(folder / "phantom"), "--ears", str(options.ears)), check=True
            )

        def preprocess(out: str) -> list[str]:
            return command(
                "preprocess", "--raw", str(raw), "--out", str(folder / out), "--workers", f"{options.workers}"
            )

        started = time.monotonic()
        subprocess.run(preprocess("whole"), check=False)
        took = time.monotonic() - started
        whole = contents(folder / "whole")
        faults = 0
        kills = 0
        while kills < options.kills:
            # A cohort that was finished before it was killed often enough is begun again.
            shutil.rmtree(folder / "out", ignore_errors=True)
            shutil.copy(folder / "whole.key", folder / "out.key")
            done = False
            while not done and kills < options.kills:
                run = subprocess.Popen(preprocess("out"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                try:
                    run.wait(moments.uniform(0.2, 1.0) * took)
                    done = True
                except subprocess.TimeoutExpired:
                    run.kill()
                    run.wait()
                    kills += 1
                    wrong = broken(folder / "out", whole)
                    faults += len(wrong)
                    parts = len(list((folder / "out" / "parts").glob("sub-*")))
                    print(f"kill {kills}: {parts} persons done, broken files: {wrong or 'none'}", flush=True)
            subprocess.run(preprocess("out"), stdout=subprocess.DEVNULL, check=False)
            same = contents(folder / "out") == whole
            faults += not same
            print(
                f"rerun after {kills} kills in all: {len(whole)} files, {'the same' if same else 'DIFFERENT'}",
                flush=True,
            )
    return int(faults > 0)


if __name__ == "__main__":
    sys.exit(main())

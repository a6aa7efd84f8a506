"""preprocess with a stand-in for the registration: for every person the same files each time, in milliseconds.

As a program: ``stubbed_preprocess.py RAW OUT [SHARD]``. The environment may name subjects that misbehave: ``STUB_KILL``
kills the process that works on it, ``STUB_HANG`` never ends; every ear takes ``STUB_DELAY_S`` seconds.
"""

import hashlib
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from medlangevin.imaging.cohort import preprocess as pipeline
from medlangevin.imaging.cohort.ear_files import ear_name
from medlangevin.imaging.cohort.person import Outcome, Person
from medlangevin.imaging.cohort.status import parse_shard
from medlangevin.imaging.registration.reference import Reference
from medlangevin.imaging.registration.register import Method
from medlangevin.system.errors import MedlangevinError
from medlangevin.system.files import write_json, write_text


def stub_person(person: Person, out: Path, matcher: object) -> Outcome:
    _misbehave(person.subject)
    digest = hashlib.sha256(person.subject.encode()).hexdigest()
    study = person.series[0][0]
    failures, ears, failed = [], [], []
    delay = float(os.environ.get("STUB_DELAY_S", "0"))
    if digest[0] in "01":
        time.sleep(delay)
        failures = [{"study": study, "code": "no-ear", "reason": "no inner ear found", "what_to_do": "look"}]
        write_text(out / "qc" / f"{ear_name(person.subject, 'R', failed=True)}.png", digest)
        failed = [_record(person.subject, "R", study, "failed")]
    else:
        for side in {"2": "L", "3": "R"}.get(digest[0], "LR"):
            time.sleep(delay)
            name = ear_name(person.subject, side)
            write_text(out / "crops" / f"{name}.nii.gz", digest * 100)
            write_text(out / "qc" / f"{name}.png", digest)
            ear = _record(person.subject, side, study, "review" if digest[1] in "0123" else "ok")
            ear["sha256"] = hashlib.sha256((digest * 100).encode()).hexdigest()
            write_json(out / "crops" / f"{name}.json", ear | person.provenance)
            ears.append(ear)
    return Outcome(person.subject, person.inputs, ears, failures, failed=failed)


def _record(subject: str, side: str, study: str, verdict: str) -> dict[str, Any]:
    doubt = {} if verdict == "ok" else {"code": "runner-up", "why": "another place fits <nearly> as well"}
    return {
        "subject": subject,
        "side": side,
        "series": study,
        "verdict": verdict,
        "code": "",
        "why": "",
        **doubt,
        **dict.fromkeys(("ncc", "labyrinth_ncc", "mirror_ncc", "runner_up_ncc", "coil_ncc", "coil_weakest_ncc"), 0.75),
        **dict.fromkeys(("agreement_mm", "residual_mm"), None),
        "coverage": 1.0,
    }


def _misbehave(subject: str) -> None:
    if subject == os.environ.get("STUB_KILL"):
        os.kill(os.getpid(), signal.SIGKILL)
    if subject == os.environ.get("STUB_HANG"):
        time.sleep(600)


class StubMatcher:
    def __init__(self, reference: Reference, *, method: Method) -> None:
        pass


def prepare(*_: Any) -> None:
    """Instead of ``preprocess._prepare``."""


def process(out: Path, person: Person) -> Outcome:
    """Instead of ``preprocess._process``."""
    return stub_person(person, out, None)


if __name__ == "__main__":
    vars(pipeline).update(process_person=stub_person, Matcher=StubMatcher)
    raw, out, *shard = sys.argv[1:]
    try:
        share = parse_shard(shard[0]) if shard else None
        pipeline.preprocess(Path(raw), Path(out), shard=share)
    except MedlangevinError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)

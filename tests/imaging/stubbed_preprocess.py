"""preprocess with a stand-in for the registration: for every person the same files each time, in milliseconds.

As a program: ``stubbed_preprocess.py RAW OUT WORKERS [SHARD]``. The environment may name subjects that misbehave:
``STUB_KILL_ONCE`` and ``STUB_KILL`` kill the process that works on them, ``STUB_HANG`` never ends.
"""

import hashlib
import os
import signal
import sys
import time
from pathlib import Path

from medlangevin.errors import MedlangevinError
from medlangevin.imaging import preprocess as pipeline
from medlangevin.imaging.person import Outcome, ear_name
from medlangevin.imaging.shard import parse_shard
from medlangevin.io import write_json, write_text


def stub_person(person, out, _):
    _misbehave(person.subject, out)
    digest = hashlib.sha256(person.subject.encode()).hexdigest()
    study = person.series[0][0]
    if digest[0] in "01":
        reason = {"study": study, "code": "no-ear", "reason": "no inner ear found", "what_to_do": "look"}
        return Outcome(person.subject, person.inputs, failures=[reason])
    ears = []
    for side in {"2": "L", "3": "R"}.get(digest[0], "LR"):
        time.sleep(float(os.environ.get("STUB_DELAY_S", "0")))
        name = ear_name(person.subject, side)
        write_text(out / "crops" / f"{name}.nii.gz", digest * 100)
        write_text(out / "qc" / f"{name}.png", digest)
        ear = {
            "subject": person.subject,
            "side": side,
            "series": study,
            "verdict": "review" if digest[1] in "0123" else "ok",
            "code": "runner-up" if digest[1] in "0123" else "",
            "why": "another place fits nearly as well" if digest[1] in "0123" else "",
            **dict.fromkeys(("ncc", "mirror_ncc", "labyrinth_ncc", "coverage"), 0.75),
            **dict.fromkeys(("agreement_mm", "residual_mm", "runner_up_ncc"), 0.25),
            "sha256": hashlib.sha256((digest * 100).encode()).hexdigest(),
        }
        write_json(out / "crops" / f"{name}.json", ear | person.provenance)
        ears.append(ear)
    return Outcome(person.subject, person.inputs, ears)


def _misbehave(subject, out):
    tried = out.parent / f"tried-{subject}"
    if subject == os.environ.get("STUB_KILL_ONCE") and not tried.exists():
        tried.write_text("")
        os.kill(os.getpid(), signal.SIGKILL)
    if subject == os.environ.get("STUB_KILL"):
        os.kill(os.getpid(), signal.SIGKILL)
    if subject == os.environ.get("STUB_HANG"):
        time.sleep(600)


class StubMatcher:
    def __init__(self, reference, *, method):
        pass


def install():
    """In this process, for good."""
    pipeline.process_person = stub_person
    pipeline.Matcher = StubMatcher
    pipeline.PERSON_LIMIT_S = float(os.environ.get("STUB_LIMIT_S", "600"))


if __name__ in ("__main__", "__mp_main__"):
    # The latter is the name in a spawned worker process.
    install()

if __name__ == "__main__":
    raw, out, workers, *shard = sys.argv[1:]
    try:
        share = parse_shard(shard[0]) if shard else None
        pipeline.preprocess(Path(raw), Path(out), workers=int(workers), shard=share)
    except MedlangevinError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)

"""Kill -9 a training at random moments, resume it each time, and compare it with an undisturbed one, bit by bit.

    python benchmarks/stress/kill_training.py --out DIR [--kind qsl_vae] [--kills 20] [--seed 0]

A small model on twelve balls of random place and size, with averaged weights, augmentation and a rate that changes. A
kill falls between 0 and --seconds after the first step of the resumed process, so some fall into the writing of a
checkpoint. Exit code 1 if anything differs.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import nibabel
import numpy as np
import torch
import yaml
from safetensors.torch import load_file

SHAPE, EARS = (12, 10, 10), 12
FLOWS = {"qsl_vae": {"flow": {"steps": 2}}, "hvae": {"flow": {"steps": 2}}}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--kind", default="qsl_vae", choices=("vae", "qsl_vae", "hvae", "lae"))
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=4.0, help="latest moment of a kill")
    parser.add_argument("--epochs", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    write_crops(arguments.out / "crops")
    config = arguments.out / "config.yaml"
    config.write_text(yaml.safe_dump(settings(arguments)))
    moments = random.Random(arguments.seed)
    kills = 0
    while kills < arguments.kills:
        process = start(config, "killed")
        wait_for_first_epoch(process)
        time.sleep(moments.uniform(0, arguments.seconds))
        if process.poll() is not None:
            print(f"the training ended after {kills} kills; raise --epochs")
            return 1
        process.send_signal(signal.SIGKILL)
        process.wait()
        kills += 1
        print(f"kill {kills}: {progress_of(arguments.out / 'runs' / 'killed')}", flush=True)
    for name in ("killed", "undisturbed"):
        if start(config, name, output=subprocess.DEVNULL).wait() != 0:
            print(f"{name} failed")
            return 1
    return compare(*(arguments.out / "runs" / name for name in ("killed", "undisturbed")))


def settings(arguments: argparse.Namespace) -> dict[str, object]:
    return {
        "name": "x",
        "output_dir": str(arguments.out / "runs"),
        "data": {"root": str(arguments.out / "crops"), "shift_voxels": 0.5, "noise_hu": 30},
        "model": {
            "kind": arguments.kind,
            "latent_dim": 2,
            "network": {"channels": [4], "hidden": 8},
            **FLOWS.get(arguments.kind, {}),
        },
        "training": {
            "epochs": arguments.epochs,
            "batch_size": 4,
            "patience": arguments.epochs,
            "weight_averaging": 0.99,
            "learning_rate_schedule": "cosine",
            "accelerator": "cpu",
        },
    }


def write_crops(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    grid = np.stack(np.meshgrid(*[np.arange(size) for size in SHAPE], indexing="ij"))
    listing: dict[str, list[dict[str, str]]] = {"training": [], "validation": [], "test": []}
    for number in range(EARS):
        centre = np.array(SHAPE)[:, None, None, None] / 2 + rng.normal(0, 0.7, (3, 1, 1, 1))
        inside = ((grid - centre) ** 2).sum(0) < rng.uniform(2, 4) ** 2
        name = f"sub-{number}_side-R_ct.nii.gz"
        nibabel.save(nibabel.Nifti1Image((2000 * inside - 500).astype(np.int16), np.eye(4)), folder / name)
        split = "training" if number < 9 else "validation" if number < 11 else "test"
        listing[split].append({"image": name, "subject": str(number), "side": "R", "split": split})
    (folder / "dataset.json").write_text(json.dumps(listing))


def start(config: Path, name: str, *, output: int = subprocess.PIPE) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "medlangevin", "train", str(config), "--resume", "--set", f"name={name}"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(command, stdout=output, stderr=subprocess.DEVNULL, text=True, env=environment)


def wait_for_first_epoch(process: "subprocess.Popen[str]") -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith(("going on", "nothing to resume")):
            return


def progress_of(run: Path) -> str:
    state = run / "checkpoints" / "last" / "training.json"
    return f"checkpoint of epoch {json.loads(state.read_text())['epoch']}" if state.exists() else "no checkpoint yet"


def compare(killed: Path, undisturbed: Path) -> int:
    different = []
    for file in ("last/model", "last/training", "last/average", "best/model"):
        one, other = (load_file(run / "checkpoints" / f"{file}.safetensors") for run in (killed, undisturbed))
        same = one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
        different += [] if same else [file]
    rows = [[line.rsplit(",", 1)[0] for line in (run / "metrics.csv").open()] for run in (killed, undisturbed)]
    different += [] if rows[0] == rows[1] else ["metrics.csv"]
    print(f"different: {', '.join(different)}" if different else "bit for bit the same")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())

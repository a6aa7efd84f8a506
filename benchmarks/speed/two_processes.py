"""Samples per second and core of a training shared by two processes, over those of one process alone.

    python benchmarks/speed/two_processes.py --data data/cochlea [--model vae] [--epochs 6] [--rounds 3]

Trainings of the same config on one thread and on two processes of one thread each, in turn; the same batches, split
between the processes. Medians of an epoch's seconds, the first and the last epoch (start, validation) left out. Needs
two idle cores.
"""

import argparse
import csv
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="crops that preprocess wrote")
    parser.add_argument("--model", default="vae")
    parser.add_argument("--batch", type=int, default=10)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    seconds: dict[int, list[float]] = {1: [], 2: []}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(arguments.rounds):
            for processes in seconds:
                seconds[processes] += epochs_of_a_training(arguments, processes, Path(folder))
    one, two = (statistics.median(values) for values in seconds.values())
    print(f"{arguments.model}, batch {arguments.batch}: an epoch takes {one:.2f} s in one process, {two:.2f} s in two")
    print(f"samples per second and core, two processes over one: {one / (2 * two):.2f}")


def epochs_of_a_training(arguments: argparse.Namespace, processes: int, folder: Path) -> list[float]:
    config = folder / "config.yaml"
    config.write_text(
        f"name: p{processes}-{len(list(folder.iterdir()))}\n"
        f"output_dir: {folder}\n"
        f"data: {{root: {arguments.data.resolve()}}}\n"
        f"model: {{kind: {arguments.model}, latent_dim: 32}}\n"
        f"training: {{epochs: {arguments.epochs}, batch_size: {arguments.batch}, accelerator: cpu, "
        f"validate_every: {arguments.epochs}}}\n"
    )
    command = [sys.executable, "-m", "medlangevin", "train", str(config), "--devices", str(processes)]
    subprocess.run(command, check=True, env=os.environ | {"OMP_NUM_THREADS": "1"}, stdout=subprocess.DEVNULL)
    newest = max(folder.glob("p*/metrics.csv"), key=lambda path: path.stat().st_mtime)
    with newest.open() as file:
        rows = list(csv.DictReader(file))
    return [float(row["seconds"]) for row in rows[1:-1]]


if __name__ == "__main__":
    main()

"""``python -m medlangevin`` is the ``medlangevin`` program, so that ``torchrun -m medlangevin`` works."""

from medlangevin.cli.main import run

if __name__ == "__main__":
    run()

"""``python -m medlangevin`` is the same program as the ``medlangevin`` script, so that ``torchrun -m medlangevin`` works."""

from medlangevin.cli.main import run

if __name__ == "__main__":
    run()

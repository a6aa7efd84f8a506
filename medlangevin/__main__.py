"""``python -m medlangevin`` is the ``medlangevin`` program, so that ``torchrun -m medlangevin`` works."""

from medlangevin.cli.main import main

if __name__ == "__main__":
    main(prog_name="medlangevin")

"""`python -m inksight` is the command line."""

from inksight.cli import main

if __name__ == "__main__":
    main()

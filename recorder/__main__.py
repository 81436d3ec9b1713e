"""`python -m recorder`: the same as the console script."""

from recorder.cli.main import main

if __name__ == "__main__":
    main()

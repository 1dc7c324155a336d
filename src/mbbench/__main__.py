"""`python -m mbbench` is `mbbench`."""

from mbbench.cli import main

if __name__ == "__main__":
    main()

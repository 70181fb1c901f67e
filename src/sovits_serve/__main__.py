"""``python -m sovits_serve``: the same as the command ``sovits-serve``."""

from sovits_serve.cli import main

if __name__ == "__main__":
    main()

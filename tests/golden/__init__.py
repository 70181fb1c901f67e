"""The recorded upstream data that the tests compare with."""

from pathlib import Path

DATA = Path(__file__).parent / "data"

"""Where the data files of other packages lie. Finds them without importing those packages."""

from importlib.util import find_spec
from pathlib import Path

from sovits_serve.errors import UnsupportedLanguage


def package_file(package: str, name: str) -> Path:
    """Return the path of a file of an installed package.

    Raises:
        UnsupportedLanguage: the package is not installed.
    """
    spec = find_spec(package)
    folders = spec.submodule_search_locations if spec else None
    if not folders:
        raise UnsupportedLanguage(f"language: en needs the Python package {package}")
    return Path(folders[0]) / name

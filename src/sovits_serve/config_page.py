"""Makes docs/configuration.md from the declarations of the settings."""

from sovits_serve.config import ServerConfig
from sovits_serve.config_sources import Setting, all_settings

_KINDS = {
    "": "text",
    "path": "a path",
    "paths": "paths",
    "list": "a list",
    "memory": "a size",
    "share": "a share or a size",
}
_INTRODUCTION = """\
# Configuration

<!-- Made from the declarations in src/sovits_serve/config.py by
     python -m sovits_serve.config_page > docs/configuration.md; a test compares. -->

A value comes from the first of these that gives one:

1. a flag of `sovits-serve serve` or `sovits-serve engines`;
2. an environment variable; an empty one gives none;
3. a TOML file, named by `--config FILE` or `SOVITS_SERVE_CONFIG`, with the tables below;
4. the default.

An unknown key or `SOVITS_SERVE_` variable and a bad value stop the start with exit code 78
and a message that names the key, the value, where it came from and what is allowed. Under another
server (`uvicorn sovits_serve.api.app:app`) there are no flags; variables and the file count.

```toml
[api]
port = 9880
cors_origins = ["https://example.org"]

[model]
model = "my-voice" # relative to this file

[supervisor]
devices = ["cuda:0", "cuda:1"]
soft_memory = "8GiB"
```

Sizes are bytes, or numbers with KiB, MiB, GiB, TiB (K, M, G, T are the same; KB, MB, GB, TB count
in thousands). A list is separated by commas, or a list in TOML; paths by the system's separator
(`:`, on Windows `;`). Relative paths are relative to the file that names them, else to the working
directory; `~` is the home directory. Keep secrets out of flags, which every user of the machine
can see."""


def markdown() -> str:
    """Return docs/configuration.md."""
    lines = [_INTRODUCTION]
    section = None
    for setting in all_settings():
        if setting.section != section:
            section = setting.section
            title = f"## [{section}]\n\n{section_help(section)}." if section else "## Top"
            lines += [f"\n{title}\n\n| setting | flag, variable | default | allowed | meaning |"]
            lines += ["| --- | --- | --- | --- | --- |"]
        lines.append(_row(setting))
    return "\n".join(lines) + "\n"


def _row(setting: Setting) -> str:
    flag = flag_names(setting).replace("/", "`, `")
    help_text = setting.declared.metadata["help"].replace("|", "\\|")
    names = f"`{flag}`, `{setting.environment}`"
    default = show_value(setting, setting.declared.default)
    return f"| `{setting.key}` | {names} | {default} | {allowed(setting)} | {help_text} |"


def show_value(setting: Setting, value: object) -> str:
    """Return a value as people write it: 12MiB, true, none."""
    if value == "":
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int) and setting.key.endswith("_bytes"):
        for shift, unit in ((30, "GiB"), (20, "MiB"), (10, "KiB")):
            if value and value % (1 << shift) == 0:
                return f"{value >> shift}{unit}"
    return str(value)


def flag_names(setting: Setting) -> str:
    """Return a setting's flag; for one that is on or off both, as "--x/--no-x"."""
    if isinstance(setting.declared.default, bool):
        return f"{setting.flag}/--no-{setting.flag[2:]}"
    return setting.flag


def allowed(setting: Setting) -> str:
    """Return what a setting may be, in words."""
    metadata = setting.declared.metadata
    if metadata["choices"]:
        return ", ".join(metadata["choices"])
    if metadata["minimum"] is not None:
        low, high = (show_value(setting, metadata[key]) for key in ("minimum", "maximum"))
        return f"{low} to {high}" if metadata["maximum"] is not None else f"from {low}"
    if isinstance(setting.declared.default, bool):
        return "true, false"
    return _KINDS[metadata["kind"]]


def section_help(section: str) -> str:
    """Return what a section is about."""
    default = getattr(ServerConfig(), section)
    return str(default.__doc__).partition("\n")[0].removesuffix(".")


if __name__ == "__main__":
    print(markdown(), end="")  # noqa: T201 -- the page is the output

"""Write docs/reference/command-line.md from the commands' help.

Run it after a change of an option: python docs/make_command_line.py
"""

import inspect
import re
from pathlib import Path

import click

from trt_export.cli import command as export_all
from trt_pipeline.__main__ import all_commands

PAGE = Path(__file__).parent / "reference" / "command-line.md"
HEADER = """\
# Command line

Print the same texts in a terminal:

```sh
trt-pipeline generate --help
export-all --help
```

The exit status of every command is 0 when done, 1 for a failure, 2 for wrong usage or bad input,
and 130 when interrupted. Results go to stdout, progress and messages to stderr.

`docs/make_command_line.py` generates this page.
"""
TABLE = "| option | value | meaning | default, bounds |\n|---|---|---|---|\n"


def page() -> str:
    """The text of the page."""
    cli = all_commands()
    parent = click.Context(cli, info_name="trt-pipeline", **cli.context_settings)
    ours = [click.Context(one, parent, name) for name, one in sorted(cli.commands.items())]
    exporter = click.Context(export_all, info_name="export-all", **export_all.context_settings)
    return HEADER + "".join(map(_section, (exporter, *ours)))


def _section(context: click.Context) -> str:
    command = context.command
    usage = " ".join((context.command_path, *command.collect_usage_pieces(context)))
    text = inspect.cleandoc(command.help or "")
    options = [one for one in command.params if isinstance(one, click.Option)]
    rows = "".join(_row(one, context) for one in options)
    return f"\n## {context.info_name}\n\n```text\n{usage}\n```\n\n{text}\n\n{TABLE}{rows}"


def _row(option: click.Option, context: click.Context) -> str:
    usage, text = option.get_help_record(context) or ("", "")
    names = ", ".join(f"`{name}`" for name in sorted(option.opts, key=len))
    value = usage.rpartition(max(option.opts, key=len))[2].strip()
    if value.startswith("["):
        value = value.strip("[]").replace("|", ", ")
    meaning, *extras = re.split(r"  \[", f"  {text}")
    extra = "; ".join(one.removeprefix("default: ").rstrip("]") for one in extras)
    return f"| {names} | {value} | {meaning.strip()} | {extra} |\n".replace("<", "&lt;")


if __name__ == "__main__":
    PAGE.write_text(page())

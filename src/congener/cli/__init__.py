"""The command line: parse, call, print."""

import os
import sys
import warnings
from typing import Any

import click

from congener import __version__
from congener.cli import streams
from congener.cli.checking import check
from congener.cli.duplicates import duplicates
from congener.cli.explaining import explain
from congener.cli.galleries import demo, index, info
from congener.cli.judging import adapt, compare, evaluate
from congener.cli.keeping import backup, forget
from congener.cli.searching import USER_MISTAKE, search
from congener.cli.serving import serve
from congener.errors import CongenerError, unknown_name
from congener.terminal import note

INTERRUPTED = 130
_LONGEST = 2000  # characters of what is told of an error


class _Commands(click.Group):
    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            raise CongenerError(unknown_name("command", args[0], self.list_commands(ctx)))
        return super().resolve_command(ctx, args)

    def make_context(self, *args: Any, **how: Any) -> click.Context:
        with streams.watched():
            return super().make_context(*args, **how)

    def invoke(self, ctx: click.Context) -> Any:
        with streams.watched():
            return super().invoke(ctx)


@click.group(cls=_Commands, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="congener")
@click.pass_context
def cli(context: click.Context) -> None:
    """Find the pictures in a folder that are most like a picture."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


for _command in (
    adapt,
    backup,
    check,
    compare,
    demo,
    duplicates,
    evaluate,
    explain,
    forget,
    index,
    info,
    search,
    serve,
):
    cli.add_command(_command)


def main() -> None:
    """Run the command line; a user's mistake is one line on stderr and exit code 2."""
    if not sys.warnoptions:  # what Pillow thinks of a picture's metadata helps nobody here
        warnings.simplefilter("ignore")
    streams.prepare()
    try:
        code = _run()
        streams.flush()
    except streams.ReaderGoneError:
        code = streams.READER_GONE
    except (click.Abort, KeyboardInterrupt) as interruption:
        note(str(interruption) or "interrupted; what was done is kept, run it again to go on")
        code = INTERRUPTED
    except (CongenerError, click.ClickException, OSError) as error:
        note(_told(error))
        code = USER_MISTAKE
    streams.end()
    sys.exit(code)


def _run() -> int:
    """Run the command; return its exit code."""
    try:
        code = cli.main(prog_name="congener", standalone_mode=False)
    except SystemExit as ended:  # a command's own code
        code = ended.code
    return code if isinstance(code, int) else 0


def _told(error: Exception) -> str:
    """Return an error in one line; where it quotes what it was given at length, the beginning and the end."""
    match error:
        case click.ClickException():
            text = error.format_message()
        case OSError(strerror=str(reason), filename=str() | bytes() as name):
            text = f"{os.fsdecode(name)}: {reason}"
        case OSError(strerror=str(reason)):
            text = f"can't read or write: {reason}"
        case _:
            text = str(error)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST // 2]} … {text[-_LONGEST // 2 :]}"

"""The command line: parse, call, print."""

import os
import sys
import warnings

import click

from congener import __version__
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


class _Commands(click.Group):
    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            raise CongenerError(unknown_name("command", args[0], self.list_commands(ctx)))
        return super().resolve_command(ctx, args)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="congener")
def cli() -> None:
    """Find the pictures in a folder that are most like a picture."""


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
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure:
            reconfigure(errors="backslashreplace")
    try:
        code = cli.main(standalone_mode=False)
        sys.stdout.flush()
        sys.exit(code)
    except (click.Abort, KeyboardInterrupt):
        note("interrupted; what was done is kept, run it again to go on")
        sys.exit(INTERRUPTED)
    except click.ClickException as error:
        note(error.format_message())
        sys.exit(USER_MISTAKE)
    except CongenerError as error:
        note(str(error))
        sys.exit(USER_MISTAKE)
    except BrokenPipeError:  # the reader of a pipe has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)

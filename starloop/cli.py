"""Command line: one group, whose commands are modules under starloop/commands/ that are imported on use.

A user error is one line on standard error and exit status 1 (2 for wrong usage), never a stack trace.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator

import click

from star.errors import StarloopError, UsageError

# Set before any command imports numpy: matrices are small, and contention of BLAS threads made training sixteen times slower on
# two cores.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

COMMANDS: dict[str, str] = {
    # Run the service.
    "demo": "starloop.commands.service.demo",
    "up": "starloop.commands.service.up",
    "run": "starloop.commands.service.run",
    "fleet": "starloop.commands.service.fleet",
    "simulate": "starloop.commands.service.simulate",
    # Inspect it.
    "check": "starloop.commands.inspect.check",
    "doctor": "starloop.commands.inspect.doctor",
    "forecast": "starloop.commands.inspect.forecast",
    "why": "starloop.commands.inspect.why",
    "dashboards": "starloop.commands.inspect.dashboards",
    "bench": "starloop.commands.inspect.bench",
    # Read and write data.
    "import": "starloop.commands.data.import_",
    "decode": "starloop.commands.data.decode",
    "replay": "starloop.commands.data.replay",
    "log": "starloop.commands.data.log",
    "export": "starloop.commands.data.export",
    "erase": "starloop.commands.data.erase",
    # Evaluate models and rules.
    "backtest": "starloop.commands.modelling.backtest",
    "models": "starloop.commands.modelling.models",
}
"""Module of each command, in the order of `starloop --help`; its `command` is the click command."""


class _LazyGroup(click.Group):
    """Imports the module of a command on use, so that `starloop check` does not load Faust."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        module = COMMANDS.get(cmd_name)
        if module is None:
            return None
        command: click.Command = importlib.import_module(module).command
        return command


def _version(ctx: click.Context, _: click.Parameter, requested: bool) -> None:
    if requested and not ctx.resilient_parsing:
        click.echo(importlib.import_module("starloop.version").description())
        ctx.exit()


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_version,
    help="Show version, commit and models, and exit.",
)
def cli() -> None:
    """Sense what connected devices use up, forecast run-outs, and react as each customer chose."""


def main() -> None:
    """Runs the command, and turns Starloop errors into one line and an exit status."""
    try:
        status = cli(standalone_mode=False)
    except click.exceptions.Abort:
        click.echo("starloop: stopped", err=True)
        sys.exit(1)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except BaseExceptionGroup as group:
        sys.exit(_print_errors(group))
    except UsageError as error:
        click.echo(f"starloop: {error}", err=True)
        sys.exit(2)
    except StarloopError as error:
        for line in str(error).splitlines():
            click.echo(f"starloop: {line}", err=True)
        sys.exit(1)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    sys.exit(status if isinstance(status, int) else 0)


def _print_errors(group: BaseExceptionGroup[BaseException]) -> int:
    """Prints the Starloop errors of an exception group and returns the exit status; re-raises a group with any other error."""
    ours, others = group.split(StarloopError)
    if others is not None or ours is None:
        raise group
    for error in _leaves(ours):
        click.echo(f"starloop: {error}", err=True)
    return 1


def _leaves(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error

"""The command line: one group, each command in a module of its own under starloop/commands/, loaded when it is called.

A user's mistake is one line on standard error and exit 1 (2 for wrong use), never a stack trace.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator

import click

from star.errors import StarloopError, UsageError

# Before any command imports numpy: matrices here are small, and BLAS threads that wait for each other made training sixteen
# times slower on two cores.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

COMMANDS: dict[str, str] = {
    "demo": "starloop.commands.service.demo",
    "up": "starloop.commands.service.up",
    "run": "starloop.commands.service.run",
    "fleet": "starloop.commands.service.fleet",
    "replay": "starloop.commands.data.replay",
    "simulate": "starloop.commands.service.simulate",
    "import": "starloop.commands.data.import_",
    "log": "starloop.commands.data.log",
    "check": "starloop.commands.inspect.check",
    "decode": "starloop.commands.data.decode",
    "forecast": "starloop.commands.inspect.forecast",
    "why": "starloop.commands.inspect.why",
    "models": "starloop.commands.modelling.models",
    "backtest": "starloop.commands.modelling.backtest",
    "export": "starloop.commands.data.export",
    "erase": "starloop.commands.data.erase",
    "dashboards": "starloop.commands.inspect.dashboards",
    "bench": "starloop.commands.inspect.bench",
    "doctor": "starloop.commands.inspect.doctor",
}
"""Command name -> module, whose `command` is the click command."""


class _LazyGroup(click.Group):
    """Imports a command's module only when it is asked for, so that `starloop check` does not load Faust."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        module = COMMANDS.get(cmd_name)
        if module is None:
            return None
        command: click.Command = importlib.import_module(module).command
        return command


def _version(ctx: click.Context, _: click.Parameter, asked: bool) -> None:
    if asked and not ctx.resilient_parsing:
        click.echo(importlib.import_module("starloop.version").description())
        ctx.exit()


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Version, commit and models."
)
def cli() -> None:
    """Starloop senses what connected things use up, forecasts what will run out, and reacts the way each customer chose."""


def main() -> None:
    """The entry point: runs the command, and turns errors meant for people into one line and an exit status."""
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
    """Tells the errors meant for people out of a group of tasks' errors; re-raises a group that holds any other."""
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

"""`mbbench notebook`: the notebook that mbbench began as, replayed and taken apart. The command.

Easy to get wrong: what is imported here is imported by every command, so the wings are imported when they are needed.
"""

import json
from pathlib import Path
from typing import Annotated

import typer

from mbbench import api
from mbbench.terminal import watched


def command(
    as_json: Annotated[bool, typer.Option("--json", help="The replayed tables as JSON; nothing is timed.")] = False,
    results: Annotated[Path, typer.Option(help="Folder for the records of its timings.")] = Path("results"),
) -> None:
    """Replay the notebook that mbbench began as, time its ways of training, and say what its comparison measures."""
    from mbbench.measuring import notebook as replay
    from mbbench.reporting import notebook as words

    tables = replay.tables()
    if as_json:
        typer.echo(json.dumps(tables))
        return
    typer.echo("\n".join(words.replayed(tables)))
    records = [record for plan in api.notebook_plans(results) for record in watched(plan)]
    typer.echo("\n".join(words.timed(records)))

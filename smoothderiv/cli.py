"""The command line: a table of values and derivatives in, a fitted curve with bands out.

What a command does is in ``_command/job.py``, imported when it runs, so that ``--help`` is quick.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, NoReturn

import typer

from smoothderiv import __version__

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


# Options that commands share.
_Data = Annotated[str, typer.Argument(help="Table: .csv, .tsv or .parquet; - for stdin.")]
_X = Annotated[str, typer.Option(help="Column of places.", metavar="COLUMN")]
_Y = Annotated[
    list[str] | None,
    typer.Option(help="Column and the order that it observes; repeat.", metavar="COLUMN:ORDER"),
]
_Yerr = Annotated[
    list[str] | None,
    typer.Option(
        help="Standard deviation of a column: a number or a column; unknown if not given.",
        metavar="COLUMN=SD",
    ),
]
_Relative = Annotated[
    bool, typer.Option("--relative", help="yerr gives relative sizes of the noise.")
]
_Orders = Annotated[
    list[int] | None,
    typer.Option(min=0, help="Orders to write; repeat. By default 0, 1 and, of one curve, 2."),
]
_Level = Annotated[float, typer.Option(help="Probability of lower to upper.")]
_Out = Annotated[str, typer.Option(help="Table to write; - for stdout.")]
_Force = Annotated[bool, typer.Option("--force", help="Replace existing files.")]


def main() -> None:
    """Run the command ``smoothderiv``."""
    app()


def _tell_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"smoothderiv {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", help="Tell the version.", callback=_tell_version, is_eager=True),
    ] = False,
) -> None:
    """Fit a curve to noisy values and derivatives, with uncertainty."""


@app.command()
def fit(
    data: _Data,
    x: _X = "x",
    y: _Y = None,
    yerr: _Yerr = None,
    long: Annotated[
        bool, typer.Option("--long", help="Columns x, y, nu and yerr: one row an observation.")
    ] = False,
    relative: _Relative = False,
    nu: _Orders = None,
    grid: Annotated[int, typer.Option(min=2, help="How many places to write.")] = 200,
    level: _Level = 0.95,
    out: Annotated[
        str | None,
        typer.Option(
            help="Table to write; - for stdout, the default unless --plot is given.",
            show_default=False,
        ),
    ] = None,
    plot: Annotated[Path | None, typer.Option(help="Picture to write.")] = None,
    x_unit: Annotated[
        str | None, typer.Option(help="Unit of x, to be told; of datetimes it is s.")
    ] = None,
    y_unit: Annotated[str | None, typer.Option(help="Unit of y, to be told.")] = None,
    force: _Force = False,
) -> None:
    """Fit a curve to a table and write its derivatives with standard deviations and bands.

    The table written has x and, for each order, mean, std, lower and upper: mean_0, std_0,
    lower_0, upper_0, mean_1, .. Derivatives are per unit of x, of datetimes per second.
    """
    from smoothderiv._command import job
    from smoothderiv._command.columns import Columns
    from smoothderiv._command.tables import RefusalError

    try:
        columns = Columns(x, y or [], yerr or [], long, relative)
        question = job.Question(tuple(dict.fromkeys(nu or (0, 1, 2))), grid, level)
        table = "-" if out is None and plot is None else out
        job.run_fit(data, columns, question, job.Target(table, plot, x_unit, y_unit), force)
    except RefusalError as refusal:
        _refuse(refusal)


@app.command()
def panel(
    data: _Data,
    by: Annotated[list[str], typer.Option(help="Column that tells series apart; repeat.")],
    x: _X = "x",
    y: _Y = None,
    yerr: _Yerr = None,
    relative: _Relative = False,
    nu: _Orders = None,
    grid: Annotated[
        int | None, typer.Option(min=2, help="Places for each series; its own if not given.")
    ] = None,
    level: _Level = 0.95,
    order: Annotated[
        int | None,
        typer.Option(min=1, help="Fit smoothing splines of this order, quicker than the default."),
    ] = None,
    share: Annotated[
        bool, typer.Option("--share", help="Tune one model for all series together.")
    ] = False,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; all cores.")] = None,
    out: _Out = "-",
    force: _Force = False,
) -> None:
    """Fit every series of a long table and write their derivatives, on all cores.

    The table written has the columns of --by, x and, for each order, mean, std, lower and upper,
    then error and warning. A run that was interrupted goes on where it was if it is repeated:
    finished series wait in a folder beside --out.
    """
    from smoothderiv._command import panel_job
    from smoothderiv._command.columns import Columns
    from smoothderiv._command.tables import RefusalError

    try:
        columns = Columns(x, y or [], yerr or [], False, relative)
        orders = tuple(dict.fromkeys(nu or (0, 1)))
        wanted = panel_job.Wanted(orders, grid, level, order, share, workers)
        panel_job.run_panel(data, by, columns, wanted, out, force)
    except RefusalError as refusal:
        _refuse(refusal)


@app.command()
def demo(
    folder: Annotated[Path, typer.Argument(help="Where to write; made if missing.")] = Path("demo"),
    force: _Force = False,
) -> None:
    """Fit a simulated train ride (positions, speeds, accelerations) and write it into a folder."""
    from smoothderiv._command import job
    from smoothderiv._command.tables import RefusalError

    try:
        job.run_demo(folder, force)
    except RefusalError as refusal:
        _refuse(refusal)


def _refuse(refusal: Exception) -> NoReturn:
    """Say in one line on stderr what is wrong, and end with status 2."""
    typer.echo(f"smoothderiv: {refusal}", err=True)
    raise typer.Exit(2)


if __name__ == "__main__":
    main()

"""The command line: a table of values and derivatives in, a fitted curve with intervals out.

What a command does is in ``_command/job.py``, imported when it runs, so that ``--help`` is quick.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from smoothderiv import __version__

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


# Options that commands share.
_Data = Annotated[str, typer.Argument(help="Table: .csv, .tsv or .parquet; - for stdin.")]
_Delimiter = Annotated[
    str | None,
    typer.Option(
        help="Sign between cells, such as ';' or tab. Default: by the ending of the file.",
        metavar="SIGN",
        show_default=False,
    ),
]
_Decimal = Annotated[str, typer.Option(help="Decimal sign of numbers: . or ,", metavar="SIGN")]
_Encoding = Annotated[str, typer.Option(help="Encoding of the text, such as latin-1.")]
_X = Annotated[str, typer.Option(help="Column of x.", metavar="COLUMN")]
_Y = Annotated[
    list[str] | None,
    typer.Option(
        help="Column of observations, and the derivative order observed (repeatable).",
        metavar="COLUMN:ORDER",
    ),
]
_Yerr = Annotated[
    list[str] | None,
    typer.Option(
        help="Standard deviation of a column: a number, or another column (repeatable). "
        "A number alone where there is one column. Default: estimated.",
        metavar="COLUMN=SD",
    ),
]
_Relative = Annotated[
    bool,
    typer.Option("--relative", help="yerr gives relative sizes of the noise; scale estimated."),
]
_Level = Annotated[float, typer.Option(help="Probability of the pointwise interval.")]
_Out = Annotated[str, typer.Option(help="Table to write; - for stdout.")]
_Force = Annotated[bool, typer.Option("--force", help="Replace existing files.")]


def main() -> None:
    """Run the command ``smoothderiv``."""
    app()


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"smoothderiv {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", help="Show the version.", callback=_show_version, is_eager=True),
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
        bool,
        typer.Option("--long", help="Long table: one observation a row, columns x, y, nu, yerr."),
    ] = False,
    relative: _Relative = False,
    nu: Annotated[
        list[str] | None,
        typer.Option(
            help="Derivative orders to write, such as 0,1 (repeatable). Default: 0, 1, 2.",
            metavar="ORDERS",
            show_default=False,
        ),
    ] = None,
    grid: Annotated[int, typer.Option(min=2, help="Number of equally spaced x to write.")] = 200,
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
        str | None, typer.Option(help="Unit of x for labels (seconds for datetimes).")
    ] = None,
    y_unit: Annotated[str | None, typer.Option(help="Unit of y for labels.")] = None,
    circular: Annotated[
        float | None,
        typer.Option(
            help="Values are angles of this period, such as 360 for degrees.", metavar="PERIOD"
        ),
    ] = None,
    robust: Annotated[
        str,
        typer.Option(help="Give outliers less weight: auto, yes or no.", metavar="CHOICE"),
    ] = "auto",
    correlated: Annotated[
        str,
        typer.Option(
            help="Errors are autocorrelated: auto (warn), yes or no.",
            metavar="CHOICE",
        ),
    ] = "auto",
    delimiter: _Delimiter = None,
    decimal: _Decimal = ".",
    encoding: _Encoding = "utf-8",
    force: _Force = False,
) -> None:
    """Fit a curve to a table and write its derivatives with pointwise intervals.

    The output table has x and, for each order, the mean, the standard
    deviation and a pointwise interval: mean_0, std_0, lower_0, upper_0,
    mean_1, .. Derivatives are per unit of x (per second for datetimes).
    """
    from smoothderiv._command import job
    from smoothderiv._command.columns import Columns, choice, orders
    from smoothderiv._command.source import Layout

    with _refusing():
        columns = Columns(x, y or [], yerr or [], long, relative)
        said = choice("--robust", robust), choice("--correlated", correlated)
        question = job.Question(orders(nu or (), (0, 1, 2)), grid, level, circular, *said)
        table = "-" if out is None and plot is None else out
        target = job.Target(table, plot, x_unit, y_unit)
        layout = Layout(delimiter, decimal, encoding)
        job.run_fit(data, layout, columns, question, target, force)


@app.command()
def panel(
    data: _Data,
    by: Annotated[list[str], typer.Option(help="Column that identifies a series (repeatable).")],
    x: _X = "x",
    y: _Y = None,
    yerr: _Yerr = None,
    relative: _Relative = False,
    nu: Annotated[
        list[str] | None,
        typer.Option(
            help="Derivative orders to write, such as 0,1 (repeatable). Default: 0, 1.",
            metavar="ORDERS",
            show_default=False,
        ),
    ] = None,
    grid: Annotated[
        int | None,
        typer.Option(min=2, help="Number of equally spaced x a series. Default: its own x."),
    ] = None,
    level: _Level = 0.95,
    order: Annotated[
        int | None,
        typer.Option(min=1, help="Fit smoothing splines of this order (faster than the default)."),
    ] = None,
    share: Annotated[
        bool, typer.Option("--share", help="Tune one model for all series together.")
    ] = False,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Worker processes (default: all cores).")
    ] = None,
    out: _Out = "-",
    delimiter: _Delimiter = None,
    decimal: _Decimal = ".",
    encoding: _Encoding = "utf-8",
    force: _Force = False,
) -> None:
    """Fit every series of a long table and write their derivatives, on all cores.

    The output table has the columns of --by, x and, for each order, the mean,
    the standard deviation and a pointwise interval, then error and warning.
    If a run is interrupted, run it again: it continues where it stopped.
    Finished series are kept in a folder beside --out until then.
    """
    from smoothderiv._command import panel_job
    from smoothderiv._command.columns import Columns, orders
    from smoothderiv._command.source import Layout

    with _refusing():
        columns = Columns(x, y or [], yerr or [], False, relative)
        wanted = panel_job.Wanted(orders(nu or (), (0, 1)), grid, level, order, share, workers)
        layout = Layout(delimiter, decimal, encoding)
        panel_job.run_panel(data, layout, by, columns, wanted, out, force)


@app.command()
def demo(
    folder: Annotated[Path, typer.Argument(help="Output folder; created if missing.")] = Path(
        "demo"
    ),
    force: _Force = False,
) -> None:
    """Fit a simulated train ride (positions, speeds, accelerations) and write it into a folder."""
    from smoothderiv._command import job

    with _refusing():
        job.run_demo(folder, force)


@contextmanager
def _refusing() -> Iterator[None]:
    """Print in one line on stderr what is wrong, and exit with status 2."""
    from smoothderiv._command.tables import RefusalError

    try:
        yield
        return
    except RefusalError as refusal:
        words = str(refusal)
    except MemoryError as error:
        why = f" ({error})" if str(error) else ""
        words = f"out of memory{why}; give fewer rows, or ask fewer places by --grid"
    typer.echo(f"smoothderiv: {words}", err=True)
    raise typer.Exit(2)


if __name__ == "__main__":
    main()

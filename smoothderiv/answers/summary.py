"""What a fit was and how well it did, in words: as text and as HTML."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from smoothderiv._labels import label, model_words
from smoothderiv.answers.diagnosis import Diagnosis, diagnose
from smoothderiv.answers.locations import place_words

if TYPE_CHECKING:
    from smoothderiv.model import Model
    from smoothderiv.observations import Observations
    from smoothderiv.posterior import Posterior

_SHOWN = 4
_LISTED = 6  # rows

Rows = list[tuple[str, ...]]


def summary_text(post: Posterior) -> str:
    """Return the summary as lines of text."""
    sections = _sections(post)
    width = max(len(title) for title, _ in sections) + 2
    lines = []
    for title, rows in sections:
        columns = max(len(row) for row in rows)
        padded = [(*row, *[""] * (columns - len(row))) for row in rows]
        widths = [max(len(row[j]) for row in padded) for j in range(columns)]
        for i, row in enumerate(padded):
            cells = "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True))
            lines.append(f"{title if i == 0 else '':{width}}{cells}".rstrip())
    return "\n".join(lines)


def summary_html(post: Posterior) -> str:
    """Return the summary as a table in HTML."""
    body = []
    for title, rows in _sections(post):
        columns = max(len(row) for row in rows)
        inner = "".join(
            "<tr>"
            + "".join(
                f'<td style="text-align:left"{_span(row, j, columns)}>{html.escape(cell)}</td>'
                for j, cell in enumerate(row)
            )
            + "</tr>"
            for row in rows
        )
        body.append(
            f'<tr><th style="text-align:left;vertical-align:top">{html.escape(title)}</th>'
            f"<td><table>{inner}</table></td></tr>"
        )
    return f"<table>{''.join(body)}</table>"


def _span(row: tuple[str, ...], j: int, columns: int) -> str:
    """Let the last cell of a short row fill the rest."""
    left = columns - len(row)
    return f' colspan="{left + 1}"' if left and j == len(row) - 1 else ""


def _sections(post: Posterior) -> list[tuple[str, Rows]]:
    sections: list[tuple[str, Rows]] = [
        ("Model", [(model_words(post.model),)]),
        ("Data", _data(post)),
    ]
    words: tuple[str, ...] = ()
    try:
        found = diagnose(post)
    except ValueError as error:  # an engine that cannot afford leverages says so
        sections.append(("Noise", [(str(error),)]))
    else:
        words = found.warnings
        sections += [("Noise", _noise(found)), ("Fit", _fit(post))]
    tuning = getattr(post.model, "tuning", None)
    if tuning is not None:
        sections.append(("Tuned", _tuned(tuning)))
        if tuning.tried:
            members = getattr(post.model, "models", ())
            title, on = ("Members", " on rows left out") if members else ("Tried", "")
            sections.append((title, [*_tried(tuning.tried, on), *_member_ends(members)]))
    sections.append(("Warnings", [(sentence,) for sentence in words] or [("none",)]))
    return sections


def _data(post: Posterior) -> Rows:
    data = post.data
    where = f"{data.ndim} dimensions"
    if data.ndim == 1:
        where = f"x from {data.x.min():.6g} to {data.x.max():.6g}"
        where += data.origin_words()
    missing = (
        f", {data.n_missing} missing value{'s' * (data.n_missing != 1)} left out"
        if data.n_missing
        else ""
    )
    exact = f", {int(data.exact.sum())} exact" if data.exact.any() else ""
    return [(f"{len(data)} rows, {where}{exact}{missing}",), *_downweighted(data)]


def _downweighted(data: Observations) -> Rows:
    """Return the rows that count for little, the lightest of them if they are many."""
    rows = data.downweighted
    if not len(rows):
        return []
    lightest = np.sort(rows[np.argsort(data.weight[rows], kind="stable")][:_LISTED])
    each = [f"row {row}" for row in lightest]
    if data.ndim == 1:
        places = map(place_words, data.as_given(data.x[lightest]))
        each = [f"{row} at x = {place}" for row, place in zip(each, places, strict=True)]
    each = [f"{row} ({data.weight[k]:.2g})" for row, k in zip(each, lightest, strict=True)]
    more = f", and {len(rows) - len(each)} more" if len(rows) > len(each) else ""
    return [(f"{len(rows)} downweighted: {', '.join(each)}{more}",)]


def _noise(found: Diagnosis) -> Rows:
    head = ("order", "rows", "noise", "", "dof", "residual/noise", "p", "largest z", "neighbours")
    rows: Rows = [head]
    for check in found.orders:
        low, high = (f"{value:.4g}" for value in check.noise)
        rows.append(
            (
                str(check.order),
                str(check.rows),
                low if low == high else f"{low} to {high}",
                check.kind,
                f"{check.dof:.1f}",
                f"{check.ratio:.3g}",
                f"{check.p_value:.2g}" if check.kind == "stated" else "",
                f"{check.largest:+.2f} (row {check.largest_row})",
                "" if math.isnan(check.neighbours) else f"{check.neighbours:+.2f}",
            )
        )
    return rows if len(rows) > 1 else [("all rows are exact",)]


def _fit(post: Posterior) -> Rows:
    loo = post.loo().log_density[~post.data.exact]  # exact rows are conditions
    each = loo.sum() / max(len(loo), 1)
    rows: Rows = [("effective degrees of freedom", f"{post.edf:.2f}")]
    if not hasattr(post.model, "models"):  # members of an average leave different parts free
        free = "basis" if getattr(post.model, "lam", None) == 0 else "order and mean"
        remark = f"(to compare models of these rows of the same {free})"
        rows.append(("log evidence", f"{post.log_evidence:.2f} nats", remark))
    return [*rows, ("leave-one-out log density", f"{loo.sum():.2f} nats", f"({each:.3f} a row)")]


def _tuned(tuning: Any) -> Rows:
    rows: Rows = [("by", tuning.criterion)]
    found: dict[str, list[float]] = {}  # many of a kind in one line
    for name, value in zip(tuning.names, tuning.log_values, strict=True):
        many = len(tuning.names) > _SHOWN
        found.setdefault(name.partition("[")[0] if many else name, []).append(value)
    for name, values in found.items():
        ends = [f"{math.exp(v):.5g}" if v < 700 else f"exp({v:.4g})" for v in sorted(values)]
        alike = f"{ends[0]} to {ends[-1]}, {len(ends)} numbers" if len(ends) > 1 else ends[0]
        rows.append((name, alike))
    rows.extend(("at an end", words) for words in tuning.ends)
    return rows


def _member_ends(members: Iterable[Model]) -> Rows:
    """Return the ends of ranges that members of an average took, of all of a kind in one line."""
    found: dict[str, None] = {}
    for model in members:
        for words in model.at_ends:
            found[f"{words} ({label(model)})"] = None
    return [("at an end", words) for words in found]


def _tried(tried: Any, on: str) -> Rows:
    """Return the best candidates, each with the nats of its merit that it lacks to the first."""
    ranked = sorted(tried, key=lambda pair: -pair[1])
    rows: Rows = []
    for name, merit in ranked[:_SHOWN]:
        rows.append((f"{ranked[0][1] - merit:.2f} nats worse" if rows else f"best{on}", name))
    if len(ranked) > _SHOWN:
        rows.append((f"and {len(ranked) - _SHOWN} more",))
    return rows

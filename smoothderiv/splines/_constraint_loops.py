"""Compiled loops over constraints on spline coefficients: rotations, and the null space left."""

import numpy as np
from numba import njit

NEGLIGIBLE = 1e-20  # of a row of norm 1: far below rounding, so that bands stay narrow


@njit(cache=True, nogil=True)
def rotate(row, lo, hi, pairs, turns, begin, end):
    """Apply column rotations begin..end to a dense row that is zero outside lo..hi."""
    for r in range(begin, end):
        a, b = pairs[r]
        cosine, sine = turns[r]
        at_a, at_b = row[a], row[b]
        if abs(at_a) < NEGLIGIBLE and abs(at_b) < NEGLIGIBLE:
            continue
        row[a] = cosine * at_a - sine * at_b
        row[b] = sine * at_a + cosine * at_b
        lo = min(lo, a)
        hi = max(hi, b)
    return lo, hi


@njit(cache=True, nogil=True)
def lock_constraints(first, rows, target, n_coef, tolerance):
    """Reduce constraints ``rows c = target``, of norm 1 and by ascending first, by rotations.

    Orthogonal column rotations concentrate each constraint in one coordinate, which it locks.
    Returns the rotations, the window of each constraint, the locked coordinates with their values,
    the logarithm of |det| of the locked triangle, and the constraint that contradicts the earlier
    ones (-1: none).
    """
    q, width = rows.shape
    pairs = np.empty((n_coef, 2), dtype=np.int64)  # grow as rotations come
    turns = np.empty((n_coef, 2))
    count = 0
    begin = np.zeros(q + 1, dtype=np.int64)
    locked = np.zeros(n_coef, dtype=np.bool_)
    known = np.zeros(n_coef)
    row = np.zeros(n_coef)
    active = 0
    log_det = 0.0
    for i in range(q):
        lo, hi = first[i], first[i] + width - 1
        for r in range(width):
            row[lo + r] = rows[i, r]
        while first[active] + width - 1 < lo:
            active += 1
        lo, hi = rotate(row, lo, hi, pairs, turns, begin[active], count)
        if count + hi - lo > len(pairs):
            room = 2 * len(pairs) + n_coef
            longer, more = np.empty((room, 2), dtype=np.int64), np.empty((room, 2))
            for r in range(count):
                longer[r, 0], longer[r, 1] = pairs[r, 0], pairs[r, 1]
                more[r, 0], more[r, 1] = turns[r, 0], turns[r, 1]
            pairs, turns = longer, more
        rest = target[i]
        size = abs(rest)
        last = -1
        for j in range(lo, hi + 1):
            if abs(row[j]) < NEGLIGIBLE:
                continue
            if locked[j]:
                rest -= row[j] * known[j]
                size += abs(row[j] * known[j])
                continue
            if last >= 0:
                norm = np.hypot(row[last], row[j])
                pairs[count, 0], pairs[count, 1] = last, j
                turns[count, 0], turns[count, 1] = row[j] / norm, row[last] / norm
                count += 1
                row[j] = norm
            last = j
        begin[i + 1] = count
        if last < 0 or abs(row[last]) <= tolerance:
            if abs(rest) > 10.0 * tolerance * size:
                return pairs[:count], turns[:count], begin, locked, known, log_det, i
        else:
            known[last] = rest / row[last]
            locked[last] = True
            log_det += np.log(abs(row[last]))
        for r in range(lo, hi + 1):
            row[r] = 0.0
    return pairs[:count], turns[:count], begin, locked, known, log_det, -1


@njit(cache=True, nogil=True)
def null_band(rotations, constraint_first, width, locked, known, null_first, extent, null_rows):
    """Find the rows of N and the shift of ``c = shift + N g``, g the coordinates left free.

    With an empty `null_rows`, fill null_first and extent, the first and last column of each row;
    else fill ``null_rows[j, m] = N[j, null_first[j] + m]``. Returns the shift.
    """
    pairs, turns, begin = rotations
    n_coef, q = len(locked), len(constraint_first)
    measure = null_rows.shape[1] == 0
    free = np.cumsum(~locked) - 1
    shift = np.zeros(n_coef)
    row = np.zeros(n_coef)
    active = 0
    for j in range(n_coef):
        lo = hi = j
        row[j] = 1.0
        while active < q and constraint_first[active] + width - 1 < j:
            active += 1
        for i in range(active, q):
            if constraint_first[i] > hi + width:
                break
            lo, hi = rotate(row, lo, hi, pairs, turns, begin[i], begin[i + 1])
            while hi > lo and abs(row[hi]) < NEGLIGIBLE:
                row[hi] = 0.0
                hi -= 1
        for m in range(lo, hi + 1):
            if locked[m]:
                shift[j] += row[m] * known[m]
            elif abs(row[m]) >= NEGLIGIBLE:
                if measure:
                    null_first[j] = min(null_first[j], free[m])
                    extent[j] = max(extent[j], free[m])
                else:
                    null_rows[j, free[m] - null_first[j]] = row[m]
        for m in range(lo, hi + 1):
            row[m] = 0.0
    return shift

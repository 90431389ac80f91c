"""Compiled loops of the dynamics: they see arrays, and know nothing of terms or units.

The state is ``(x, x', .., D^(d-1) x)`` with ``D^d x = drift . state + forcing + white noise``: the
drift matrix F has ones above its diagonal and `drift` in its last row. A state is carried as c
columns, ``state = M_0 + sum_j beta_j M_j``: the answer to the data from rest, and the answers to
the regressors whose coefficients beta enter linearly (de Jong 1991), the start of the state among
them. Covariances start at zero, since the start is a column.

Matrices with derivatives are arrays (1 + p, rows, columns): the matrix, then its derivative by
each of p parameters. Rows of data are sorted by time; one whose component is -1 observes nothing.
Component d observes ``D^d x`` without its white noise, as an accelerometer of the drift does.
"""

import numpy as np
from numba import njit

_loop = njit(cache=True, error_model="numpy")
_TERMS = 20  # of Taylor's series, at an argument below 1/2


@_loop
def multiply(X, Y, out):
    """Write ``X Y`` with derivatives into `out`."""
    for k in range(X.shape[0]):
        for i in range(X.shape[1]):
            for j in range(Y.shape[2]):
                total = 0.0
                for m in range(X.shape[2]):
                    total += X[0, i, m] * Y[k, m, j]
                    if k > 0:
                        total += X[k, i, m] * Y[0, m, j]
                out[k, i, j] = total


@_loop
def multiply_turned(X, Y, out):
    """Write ``X Y'`` with derivatives into `out`."""
    for k in range(X.shape[0]):
        for i in range(X.shape[1]):
            for j in range(Y.shape[1]):
                total = 0.0
                for m in range(X.shape[2]):
                    total += X[0, i, m] * Y[k, j, m]
                    if k > 0:
                        total += X[k, i, m] * Y[0, j, m]
                out[k, i, j] = total


@_loop
def add(X, scale, out):
    """Add ``scale X`` with derivatives to `out`."""
    for k in range(X.shape[0]):
        for i in range(X.shape[1]):
            for j in range(X.shape[2]):
                out[k, i, j] += scale * X[k, i, j]


@_loop
def discretise(h, drift):
    """Integrate one step of each length exactly, the input held.

    Return A (m, 1 + d, d, d), G (m, 1 + d, d, 1), Q (m, 1 + d, d, d) with ``state(t + h) = A state
    + G forcing + noise``, Q the covariance of the noise at density 1; derivatives by drift_j.
    Taylor's series of a step that is halved until it is short, then doubled: sums of terms that
    do not cancel, for any step.
    """
    m, d = len(h), len(drift)
    A, G, Q = np.zeros((m, 1 + d, d, d)), np.zeros((m, 1 + d, d, 1)), np.zeros((m, 1 + d, d, d))
    F, work, more = np.zeros((1 + d, d, d)), np.zeros((1 + d, d, d)), np.zeros((1 + d, d, d))
    term, kick, column = np.zeros((1 + d, d, d)), np.zeros((1 + d, d, d)), np.zeros((1 + d, d, 1))
    rate = 0.0
    for j in range(d):
        if j + 1 < d:
            F[0, j, j + 1] = 1.0
        F[0, d - 1, j] = drift[j]
        F[1 + j, d - 1, j] = 1.0
        rate = max(rate, d * abs(drift[j]) ** (1.0 / (d - j)))
    for i in range(m):
        halvings, s = 0, h[i]
        while s * rate > 0.5 and halvings < 1000:
            s *= 0.5
            halvings += 1
        a, g, q = A[i], G[i], Q[i]
        for r in range(1 + d):
            for b in range(d):
                for e in range(d):
                    term[r, b, e] = 1.0 if r == 0 and b == e else 0.0
                    kick[r, b, e] = s if r == 0 and b == d - 1 and e == d - 1 else 0.0
        add(term, 1.0, a)
        add(kick, 1.0, q)
        for k in range(1, _TERMS):
            add(term[:, :, d - 1 :], s / k, g)
            multiply(F, term, work)
            multiply(F, kick, more)
            for r in range(1 + d):
                for b in range(d):
                    for e in range(d):
                        term[r, b, e] = work[r, b, e] * (s / k)
                        kick[r, b, e] = (more[r, b, e] + more[r, e, b]) * (s / (k + 1))
            add(term, 1.0, a)
            add(kick, 1.0, q)
        for _ in range(halvings):
            multiply(a, q, work)
            multiply_turned(work, a, more)
            add(more, 1.0, q)
            multiply(a, g, column)
            add(column, 1.0, g)
            multiply(a, a, work)
            for r in range(1 + d):
                for b in range(d):
                    for e in range(d):
                        a[r, b, e] = work[r, b, e]
    return A, G, Q


@_loop
def innovations(step, tables, q, drift, free, force, here, rows, start, levels):
    """Filter all columns; return what is not foreseen in each observed row, with derivatives.

    step (n,) says which entry of the tables of `discretise` leads to each row, -1 for the first;
    force (n, m) is the forcing of each regressor during that step, here (n, m) that at the row;
    rows is (y, component, variance, level), level the number of the noise level of the row or -1;
    start (d, s) holds the columns of the start. The parameters are the drift components in
    `free`, log q if q > 0, and the logs of the noise levels.

    Return W (k, 1 + p, c) with columns data, regressors, start, so that ``W_0 + W beta`` has
    independent entries of variance F (k, 1 + p).
    """
    tA, tG, tQ = tables
    y, component, variance, level = rows
    n, m, d, f = len(step), force.shape[1], len(drift), len(free)
    noisy = 1 if q > 0.0 else 0
    c, p = 1 + m + start.shape[1], f + noisy + levels
    k = 0
    for i in range(n):
        k += 1 if component[i] >= 0 else 0
    W, F = np.zeros((k, 1 + p, c)), np.zeros((k, 1 + p))
    A, G, Q = np.zeros((1 + p, d, d)), np.zeros((1 + p, d, 1)), np.zeros((1 + p, d, d))
    M, MA = np.zeros((1 + p, d, c)), np.zeros((1 + p, d, c))
    P, PA, _PB = np.zeros((1 + p, d, d)), np.zeros((1 + p, d, d)), np.zeros((1 + p, d, d))
    H, u = np.zeros((1 + p, 1, d)), np.zeros((1 + p, 1, c))
    gain, K, w = np.zeros((1 + p, d, 1)), np.zeros((1 + p, d, 1)), np.zeros((1 + p, 1, c))
    total = np.zeros((1 + p, 1, 1))
    for a in range(d):
        for b in range(start.shape[1]):
            M[0, a, 1 + m + b] = start[a, b]
    at, loaded = 0, -1
    for i in range(n):
        t = step[i]
        if t >= 0:
            if t != loaded:
                loaded = t
                for r in range(1 + f):
                    source = 0 if r == 0 else 1 + free[r - 1]
                    for a in range(d):
                        G[r, a, 0] = tG[t, source, a, 0]
                        for b in range(d):
                            A[r, a, b] = tA[t, source, a, b]
                            Q[r, a, b] = q * tQ[t, source, a, b]
                for a in range(d if noisy else 0):
                    for b in range(d):
                        Q[1 + f, a, b] = Q[0, a, b]
            for b in range(m):
                u[0, 0, 1 + b] = force[i, b]
            multiply(A, M, MA)
            multiply(G, u, M)
            add(MA, 1.0, M)
            if noisy:
                multiply(A, P, PA)
                multiply_turned(PA, A, P)
                add(Q, 1.0, P)
        nu = component[i]
        if nu < 0:
            continue
        for r in range(1 + p):
            for a in range(d):
                H[r, 0, a] = 0.0
        if nu == d:
            for a in range(d):
                H[0, 0, a] = drift[a]
            for r in range(f):
                H[1 + r, 0, free[r]] = 1.0
        else:
            H[0, 0, nu] = 1.0
        multiply(H, M, w)
        for r in range(1 + p):
            for b in range(c):
                w[r, 0, b] = -w[r, 0, b]
        w[0, 0, 0] += y[i]
        if nu == d:
            for b in range(m):
                w[0, 0, 1 + b] -= here[i, b]
        total[:] = 0.0
        if noisy:
            multiply_turned(P, H, gain)
            multiply(H, gain, total)
        total[0, 0, 0] += variance[i]
        if level[i] >= 0:
            total[1 + f + noisy + level[i], 0, 0] += 2.0 * variance[i]
        for r in range(1 + p):
            F[at, r] = total[r, 0, 0]
            for b in range(c):
                W[at, r, b] = w[r, 0, b]
        at += 1
        if noisy:
            for r in range(1 + p):
                for a in range(d):
                    less = K[0, a, 0] * total[r, 0, 0] if r > 0 else 0.0
                    K[r, a, 0] = (gain[r, a, 0] - less) / total[0, 0, 0]
            multiply(K, w, MA)
            add(MA, 1.0, M)
            multiply_turned(K, gain, PA)
            add(PA, -1.0, P)
            for r in range(1 + p):
                for a in range(d):
                    for b in range(a):
                        P[r, a, b] = P[r, b, a]
    return W, F


@_loop
def smooth(step, A, Q, q, drift, kick, direct, rows, start):
    """Filter and smooth all columns; rows of component -1 may be places that are asked.

    kick (n, d, c) moves the columns during the step before each row, direct (n, c) adds to what a
    row of component d sees, start (d, c) is the state at the first row. Return the smoothed
    columns (n, d, c) and the covariance (n, d, d) given beta; what :func:`joint` needs: the
    predicted covariances, the information of what is ahead and the closed loops, each (n, d, d);
    and the innovations W (k, c) of the observed rows with their variances F (k,).
    """
    y, component, variance = rows
    n, d, c = kick.shape
    M, M2 = np.zeros((1, d, c)), np.zeros((1, d, c))
    P, P2 = np.zeros((1, d, d)), np.zeros((1, d, d))
    M[0] = start
    ahead_M, ahead_P = np.empty((n, 1, d, c)), np.empty((n, 1, d, d))
    gain, keep = np.zeros((n, 1, d, 1)), np.zeros((n, 1, d, d))
    H, raw = np.zeros((n, 1, 1, d)), np.zeros((1, d, 1))
    left, spread, one = np.zeros((n, 1, 1, c)), np.ones(n), np.zeros((1, 1, 1))
    for i in range(n):
        t = step[i]
        if t >= 0:
            multiply(A[t : t + 1], M, M2)
            M[0] = kick[i]
            add(M2, 1.0, M)
            multiply(A[t : t + 1], P, P2)
            multiply_turned(P2, A[t : t + 1], P)
            add(Q[t : t + 1], q, P)
        ahead_M[i], ahead_P[i] = M, P
        nu = component[i]
        for a in range(d):
            keep[i, 0, a, a] = 1.0
        if nu < 0:
            continue
        for a in range(d):
            H[i, 0, 0, a] = drift[a] if nu == d else (1.0 if a == nu else 0.0)
        multiply(H[i], M, left[i])
        for b in range(c):
            left[i, 0, 0, b] = -left[i, 0, 0, b]
            if nu == d:
                left[i, 0, 0, b] -= direct[i, b]
        left[i, 0, 0, 0] += y[i]
        multiply_turned(P, H[i], raw)
        multiply(H[i], raw, one)
        spread[i] = variance[i] + one[0, 0, 0]
        add(raw, 1.0 / spread[i], gain[i])
        multiply(gain[i], left[i], M2)
        add(M2, 1.0, M)
        multiply_turned(gain[i], raw, P2)
        add(P2, -1.0, P)
        multiply(gain[i], H[i], P2)
        add(P2, -1.0, keep[i])
    pull, info = np.zeros((1, c, d)), np.zeros((1, d, d))  # pull is turned
    turned, work = np.zeros((1, c, d)), np.zeros((1, d, d))
    mean, cov, infos = np.zeros((n, 1, d, c)), np.zeros((n, 1, d, d)), np.zeros((n, 1, d, d))
    for i in range(n - 1, -1, -1):
        if component[i] >= 0:
            multiply(pull, keep[i], turned)
            multiply(info, keep[i], work)
            for a in range(d):
                weight = H[i, 0, 0, a] / spread[i]
                for b in range(c):
                    pull[0, b, a] = turned[0, b, a] + left[i, 0, 0, b] * weight
                for b in range(d):
                    total = H[i, 0, 0, b] * weight
                    for e in range(d):
                        total += keep[i, 0, e, a] * work[0, e, b]
                    info[0, a, b] = total
        multiply_turned(ahead_P[i], pull, mean[i])
        add(ahead_M[i], 1.0, mean[i])
        infos[i] = info
        multiply(ahead_P[i], info, work)
        multiply(work, ahead_P[i], cov[i])
        for a in range(d):
            for b in range(d):
                cov[i, 0, a, b] = ahead_P[i, 0, a, b] - cov[i, 0, a, b]
        t = step[i]
        if t >= 0:
            multiply(pull, A[t : t + 1], turned)
            pull[:] = turned
            multiply(info, A[t : t + 1], work)
            for a in range(d):
                for b in range(d):
                    total = 0.0
                    for e in range(d):
                        total += A[t, e, a] * work[0, e, b]
                    info[0, a, b] = total
    return mean[:, 0], cov[:, 0], ahead_P[:, 0], infos[:, 0], keep[:, 0], left[:, 0, 0], spread


@_loop
def joint(places, step, A, ahead, infos, loops):
    """Return the covariance of the states at ascending rows `places`, given beta: (m, d, m, d).

    ``Cov(s_i, s_j) = P_i L_i' .. L_j' (I - N_j P_j)`` for i <= j: predicted covariance, closed
    loops on the way, and the information of what is ahead (de Jong & Mackinnon 1988).
    """
    m, d = len(places), A.shape[1]
    out = np.zeros((m, d, m, d))
    chain, work, rest = np.zeros((1, d, d)), np.zeros((1, d, d)), np.zeros((1, d, d))
    for i in range(m):
        row = places[i]
        chain[0] = ahead[row]
        for j in range(i, m):
            while row < places[j]:
                multiply_turned(chain, loops[row : row + 1], work)
                row += 1
                if step[row] >= 0:
                    multiply_turned(work, A[step[row] : step[row] + 1], chain)
                else:
                    chain[:] = work
            multiply(chain, infos[row : row + 1], work)
            multiply(work, ahead[row : row + 1], rest)
            for a in range(d):
                for b in range(d):
                    out[i, a, j, b] = chain[0, a, b] - rest[0, a, b]
                    out[j, b, i, a] = out[i, a, j, b]
    return out


@_loop
def respond(step, A, G, start, force):
    """Return the states (n, d, c) of the model driven from start (d, c) by forces (n, c)."""
    n, d, c = len(step), start.shape[0], start.shape[1]
    out = np.empty((n, d, c))
    state, moved = np.zeros((1, d, c)), np.zeros((1, d, c))
    state[0] = start
    for i in range(n):
        t = step[i]
        if t >= 0:
            multiply(A[t : t + 1], state, moved)
            for a in range(d):
                for b in range(c):
                    state[0, a, b] = moved[0, a, b] + G[t, a] * force[i, b]
        out[i] = state[0]
    return out


@_loop
def respond_rubbing(h, drift, friction, force, start):
    """Return the states (n, d) under held forces and ``friction sgn(last component)``.

    Within a step the sign is constant until the rate vanishes; that moment is bisected to the last
    bit. From rest the system moves if what drives it exceeds the friction, and stays otherwise.
    """
    n, d = len(force), len(start)
    out = np.empty((n, d))
    state, next_state = start.copy(), start.copy()
    one = np.empty(1)
    out[0] = state
    for i in range(n - 1):
        left, halts = h[i], 0
        while left > 0.0 and halts < 1000:
            drive = force[i]
            for j in range(d - 1):
                drive += drift[j] * state[j]
            sign = np.sign(state[d - 1])
            if friction != 0.0 and sign == 0.0:
                if abs(drive) <= -friction:
                    break
                sign = np.sign(drive)
            low, high, s = 0.0, left, left
            while True:
                one[0] = s
                A, G, _ = discretise(one, drift)
                for a in range(d):
                    next_state[a] = G[0, 0, a, 0] * (force[i] + friction * sign)
                    for b in range(d):
                        next_state[a] += A[0, 0, a, b] * state[b]
                turned = friction != 0.0 and next_state[d - 1] * sign < 0.0
                if turned:
                    high = s
                elif s == left:
                    break
                else:
                    low = s
                middle = 0.5 * (low + high)
                if middle <= low or middle >= high:
                    next_state[d - 1] = 0.0
                    s = high
                    break
                s = middle
            for a in range(d):
                state[a] = next_state[a]
            left -= s
            halts += 1
        out[i + 1] = state
    return out

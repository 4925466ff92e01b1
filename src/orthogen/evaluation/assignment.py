"""The best one-to-one assignment of rows to columns: the Hungarian method."""

import numpy as np

__all__ = ["assignment"]


def assignment(values: np.ndarray) -> list[int | None]:
    """For each row of ``values`` (rows, columns) the column it gets, so that their sum is as large as it can be.

    No two rows get the same column; where there are fewer columns than rows, some get none. Exact, by shortest
    augmenting paths with potentials, in O(rows² columns).

    Reference:
        H. W. Kuhn, "The Hungarian Method for the Assignment Problem", Naval Research Logistics Quarterly 2, 1955.

    Example:
        Taking the best column row by row would give 3 + 0.

        >>> assignment(np.array([[3.0, 2.0], [2.0, 0.0]]))
        [1, 0]
        >>> assignment(np.array([[1.0], [2.0]]))
        [None, 0]
    """
    rows, columns = values.shape
    if rows > columns:
        given = assignment(values.T)
        return [given.index(i) if i in given else None for i in range(rows)]
    cost = -np.asarray(values, dtype=float)
    of_row, of_column = np.zeros(rows), np.zeros(columns)  # potentials: cost >= of_row + of_column
    owner = np.full(columns, -1)
    for new in range(rows):
        least, before = np.full(columns, np.inf), np.full(columns, -1)  # the shortest ways, and their last columns
        visited, tree = np.zeros(columns, dtype=bool), []
        row, last = new, -1
        while row >= 0:
            tree.append(row)
            reduced = cost[row] - of_row[row] - of_column
            better = ~visited & (reduced < least)
            least[better], before[better] = reduced[better], last
            last = int(np.where(visited, np.inf, least).argmin())
            step = least[last]
            of_row[tree] += step
            of_column[visited] -= step
            least[~visited] -= step
            visited[last] = True
            row = int(owner[last])
        while last >= 0:  # hand the columns on along the path
            previous = int(before[last])
            owner[last] = new if previous < 0 else owner[previous]
            last = previous
    found: list[int | None] = [None] * rows
    for column, row in enumerate(owner.tolist()):
        if row >= 0:
            found[row] = column
    return found

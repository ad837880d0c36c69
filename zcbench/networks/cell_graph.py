"""A cell as a graph: nodes that add up what the operations on their edges give.

Nothing here imports torch.
"""

from __future__ import annotations

from typing import Literal

Edge = tuple[int, int]
Cell = tuple[str, ...]
"""The operations of a cell in string order."""


def edges_of(n_nodes: int) -> tuple[Edge, ...]:
    """(source, target) of each edge in string order: by target, then by source."""
    return tuple((s, t) for t in range(1, n_nodes) for s in range(t))


def reachable(cell: Cell, n_nodes: int) -> tuple[frozenset[int], frozenset[int]]:
    """Nodes that the input reaches, and nodes that reach the output.

    Args:
        cell: the operations in string order; ``none`` cuts an edge.
        n_nodes: number of nodes; node 0 is the input, the last one the output.

    Returns:
        Two sets of nodes, the first with node 0, the second with the last node.
    """
    edges = zip(edges_of(n_nodes), cell, strict=True)
    present = [edge for edge, operation in edges if operation != "none"]
    forward = {0}
    for source, target in present:  # string order visits targets in order
        if source in forward:
            forward.add(target)
    backward = {n_nodes - 1}
    for source, target in reversed(present):
        if target in backward:
            backward.add(source)
    return frozenset(forward), frozenset(backward)


Role = Literal["live", "constant", "dead"]


def roles_of_edges(cell: Cell, n_nodes: int) -> tuple[Role, ...]:
    """What each edge carries.

    Returns:
        ``"live"``: something from the input to the output; ``"constant"``: zeros to the
        output, to which a bias may add; ``"dead"``: nothing to the output.
    """
    forward, backward = reachable(cell, n_nodes)
    roles: list[Role] = []
    for (source, target), operation in zip(edges_of(n_nodes), cell, strict=True):
        if operation == "none" or target not in backward:
            roles.append("dead")
        else:
            roles.append("live" if source in forward else "constant")
    return tuple(roles)


def live_edges(cell: Cell, n_nodes: int) -> tuple[bool, ...]:
    """For each edge, whether it carries something from the input to the output."""
    return tuple(role == "live" for role in roles_of_edges(cell, n_nodes))


def function_of(cell: Cell, n_nodes: int) -> str:
    """What the last node computes, the same words for cells that compute the same.

    A node is the sum of its inputs, whatever their order; ``skip_connect`` passes its
    input on, a sum of sums is one sum, and zeros (``none``, and any operation on a
    zero) are left out. With that rule the 15,625 cells of NAS-Bench-201 are 4,930
    functions. The benchmark's own count, 6,466, keeps zeros in its sums and the order
    of sums within sums: it tells some cells apart that compute the same.

    Args:
        cell: the operations in string order.
        n_nodes: number of nodes.

    >>> function_of(("nor_conv_1x1", "none", "skip_connect"), 3)
    'nor_conv_1x1(0)'
    """
    nodes = [["0"]]
    operations = iter(cell)
    for target in range(1, n_nodes):
        terms = [
            term
            for source, operation in zip(nodes[:target], operations, strict=False)
            for term in _terms(source, operation)
        ]
        nodes.append(sorted(terms))
    return "+".join(nodes[-1])


def _terms(source: list[str], operation: str) -> list[str]:
    if operation == "none" or not source:
        return []
    return (
        source if operation == "skip_connect" else [f"{operation}({'+'.join(source)})"]
    )

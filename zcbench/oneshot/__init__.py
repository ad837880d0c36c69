"""One-shot training: architectures scored by the weights of one supernet.

A supernet holds the weights of all operations on all edges. Each step trains one path
through it (Guo et al. 2020); then every architecture is scored by its validation
accuracy with the weights that it inherits. That costs a training, once for all
architectures: a one-shot score is no zero-cost proxy, and stands beside them marked.
"""

from zcbench.oneshot.column import Request, add_column
from zcbench.oneshot.paths import SAMPLINGS, Guide, Setting

__all__ = ["SAMPLINGS", "Guide", "Request", "Setting", "add_column"]

"""Many networks of one space scored at once, for devices that one leaves idle.

The networks of a cell space share one skeleton. Here P of them lie side by side as
channels, [N, P·C, H, W], and each kernel serves all that have its operation. Here are
the passes, as in evidence/ for one network; zcbench/evidence/table.py names them.

- zcbench/engine/evaluator.py: scores of many networks (`evaluate_stack`); what a stack
  cannot do is done one by one, and it is halved where memory runs out
- zcbench/engine/memory.py: how many networks fit
- zcbench/networks/stacked.py: the layers of a stack, and the rules by which passes go
  through it; routing.py: from the maps of all networks to those of an operation

A space takes part by its method `stack` (zcbench/spaces/base.py); that of the cell
spaces is in zcbench/networks/cell_stack.py.
"""

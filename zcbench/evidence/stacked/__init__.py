"""Many networks of one space scored at once, for devices that one leaves idle.

The networks of a cell space share one skeleton. Here P of them lie side by side as
channels, [N, P·C, H, W], and each kernel serves all that have its operation. Start with
`evaluate_population` in evaluator.py.

- evaluator.py: scores of a population, what the stack cannot do done one by one, and
  halves of it where memory runs out
- memory.py: how many networks fit
- collect.py: runs the passes and gives each network its records
- minibatch.py, second_derivative.py, structure.py, synaptic_flow.py,
  gaussian_response.py: the passes, as in evidence/ for one network
- network.py: the layers of a stack, and the rules by which passes go through it
- routing.py: from the maps of all networks to those of an operation, and back
- split.py: from what layers hold to what each network has

A space takes part by its method `stack` (zcbench/spaces/base.py); that of the cell
spaces is in zcbench/networks/cell_stack.py.
"""

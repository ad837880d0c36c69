"""Does a device calculate what the CPU does? Asked before anything is scored there.

`zcbench.self_check.check` compares every record that a plan makes, on the device in the
precision of the run and on the CPU in float64, for a few networks (docs/precision.md).
"""

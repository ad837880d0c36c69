"""Simulated search on a tabular benchmark: what do proxies save a search method?

`simulate` runs hundreds of searches at once on the architectures of a run: they train
what the benchmark has trained, pay its training time and the measured time of proxies,
and see the accuracy of one training. What they find is judged by the mean over
trainings.
"""

"""Performance predictors: models trained on a few architectures, tested on others.

`section.predictions` shows many trials of a `Pool` of architectures. Everything that is
fitted (which columns are kept, ranks, scaling, what stands for a missing score, the
model) sees the training architectures alone.
"""

"""What each trick pays: the same index with it and without it.

Every index of the config is built once a variant, each in a fresh process: with
everything on; without each trick of :data:`ann.kernels.tricks.TRICKS` alone; at lower
vector levels; and as the config's own variants say. All variants of an index are then
measured in turns, round by round, like the indexes of any run; so a study's directory
holds what a run's does, and its table and figure are made from those files.
"""

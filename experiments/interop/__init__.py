"""Files of other benchmarks: their configs in, our results out, and our indexes there.

``definitions``, ``wrappers`` and ``convert`` turn an algorithm file of ann-benchmarks
or VIBE into a config; ``results`` writes rows as ann-benchmarks does, ``parquet`` as
one typed table. The folder ``ann_benchmarks`` is to be copied into a checkout of that
suite.
"""

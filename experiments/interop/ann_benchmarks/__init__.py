"""To be copied into a checkout of ann-benchmarks, as ``algorithms/ann``."""

"""Vector levels that tests compare in one process."""

from ann.kernels._jit import LEVELS

# Products of bytes have an instruction at AVX-512, the best level, alone: where only
# these depend on the level, those below it have one variant.
WITH_AND_WITHOUT_VNNI = list(dict.fromkeys([LEVELS[0], LEVELS[-1]]))

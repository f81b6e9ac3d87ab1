"""Everything that Numba compiles. Imports nothing of ``ann`` outside this folder."""

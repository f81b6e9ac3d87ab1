"""Other libraries, driven as ours is. Each is an optional extra.

Where a library does not normalise for cosine itself, or is faster when its user does,
its vectors and queries are normalised before the clock starts: the favour goes to the
peer. A library that can be told how many threads to use is told so at every call.
"""

from experiments.peers import faiss, hnswlib, pynndescent, rabitqlib, svs, usearch

ADAPTERS = (
    hnswlib.HNSW,
    faiss.Flat,
    faiss.HNSW,
    faiss.IVFFlat,
    faiss.Factory,
    usearch.HNSW,
    svs.Vamana,
    rabitqlib.SymphonyQG,
    rabitqlib.IVF,
    pynndescent.NNDescent,
)

"""Other libraries, driven as ours is. Each is an optional extra.

Where a library does not normalise for cosine itself, or is faster when its user does,
its vectors and queries are normalised before the clock starts: the favour goes to the
peer. A library that can be told how many threads to use is told so at every call.
"""

from experiments.peers import (
    annoy,
    faiss_factory,
    faiss_flat,
    faiss_hnsw,
    faiss_ivfflat,
    faiss_ivfpq_fs,
    glass,
    hnswlib,
    pynndescent,
    rabitqlib,
    sklearn,
    svs,
    usearch,
    voyager,
)

ADAPTERS = (
    hnswlib.HNSW,
    faiss_flat.Flat,
    faiss_hnsw.HNSW,
    faiss_ivfflat.IVFFlat,
    faiss_ivfpq_fs.IVFPQFastScan,
    faiss_factory.Factory,
    usearch.HNSW,
    voyager.HNSW,
    svs.Vamana,
    rabitqlib.SymphonyQG,
    rabitqlib.IVF,
    glass.HNSW,
    pynndescent.NNDescent,
    annoy.Forest,
    sklearn.Brute,
)

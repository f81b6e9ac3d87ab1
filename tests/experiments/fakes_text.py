"""An encoder that hashes words, and the ``ann`` command with it.

The command kills itself once it has encoded ``FAKES_KILL`` times and is to go on.
"""

import os
import signal
import zlib

import numpy as np

from experiments.text.keywords import words

D = 64


class Hashing:
    """A bag of words in D buckets; texts of more than 20 words are cut to nothing."""

    def __init__(self, name="hashing", scale=1.0, seed=0, d=D):
        self.name, self.fingerprint = name, f"{name} {seed} {d}"
        self._scale, self._seed, self._d = scale, seed, d
        self.encoded = []

    def encode(self, texts, role):
        self.encoded.append((role, list(texts)))
        if len(self.encoded) > int(os.environ.get("FAKES_KILL", "1000")):
            os.kill(os.getpid(), signal.SIGKILL)
        vectors = np.zeros((len(texts), self._d), np.float32)
        for vector, text in zip(vectors, texts, strict=True):
            for word in words(text) or [text]:
                vector[zlib.crc32(word.encode(), self._seed) % self._d] += 1
        return self._scale * vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    def cut(self, texts):
        return sum(len(text.split()) > 20 for text in texts)


if __name__ == "__main__":
    from experiments import cli
    from experiments.text import embedding, encoders

    encoders.load = Hashing
    embedding.PIECE = 2
    cli.main()

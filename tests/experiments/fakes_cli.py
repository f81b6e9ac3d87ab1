"""The ``ann`` command, with the fakes among its libraries and without figures."""

import fakes

from experiments import cli, indexes

if __name__ == "__main__":
    indexes.KINDS["fakes", "Brute"] = fakes.Brute
    cli._drawn = lambda out: None
    cli.main()

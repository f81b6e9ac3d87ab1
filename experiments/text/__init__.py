"""Search by meaning: text as vectors, and questions that are answered from them.

A text file, one passage a line (`passages`), is turned into vectors by a model
(`encoders`, `embedding`) and kept with them (`corpus`), a dataset as any other. A
question is answered by the passages whose vectors are near its own (`asking`), beside
what a search for its words would find (`keywords`). `stdlib` gathers an example.
"""

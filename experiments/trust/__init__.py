"""What an index is worth when it is used: changed, filtered, given unkind data.

Three studies, of which the table in a config names one: ``churn`` removes and adds
again, ``filters`` searches among some of the vectors, ``hostile`` builds on data that
is no random sample. Each index lives in a process of its own. ``study`` goes from a
config to a CSV file of lines; from these ``telling`` makes tables and figures.
"""

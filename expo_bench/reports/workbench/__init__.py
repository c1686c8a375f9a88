"""The workbench: pages over a folder of runs, served while they are written, or written as a site.

In come run, training, study and ledger folders as `storage` reads them; out go pages. It never writes into a run and
computes no estimate of its own: the interval of what is running is handed in.
"""

"""Run folders on disk: rows in, rows out.

No other room opens a result file.
"""

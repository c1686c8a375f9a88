"""Files that other tools have written: their samples in, a run folder out.

It asks no model and believes no verdict but our grader's.
"""

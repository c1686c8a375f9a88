"""The command line: words in, exit codes and tables out.

One file a command; it reads options and prints, and computes nothing that a Python caller could want.
"""

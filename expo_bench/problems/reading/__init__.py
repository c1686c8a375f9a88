"""Anyone's files: rows out of whatever holds them, and fields out of rows as a mapping declares them.

It writes nothing, and takes no field for something that neither a mapping nor a preset says it is.
"""

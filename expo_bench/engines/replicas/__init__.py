"""Several engines at once, on one machine or a Ray cluster."""

"""Long-form thoughts to imitate (STILL-2, arXiv 2412.09413): traces in; cleaned, selected, versioned sets out.

It never trains on them.
"""

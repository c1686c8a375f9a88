"""Settings that must stand before torch is imported."""

import os

# the models of the tests are tiny: threads that wait for each other would take most of the time on a busy machine
os.environ.setdefault("OMP_NUM_THREADS", "1")

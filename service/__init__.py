"""The REST API and the command line `cupdisc`."""

import os

# NumPy's products here are small, and photographs are worked on beside each other: threads of its own would only get in
# each other's way, up to tens of milliseconds. Has to be said before NumPy is imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

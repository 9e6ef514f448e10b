"""Makes new versions from annotated photographs: the command line `cupdisc-train`."""

import os

# NumPy's products here are small; its own threads would wait for each other, and take the networks' cores meanwhile.
# Has to be said before NumPy is imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

"""Makes new versions from annotated photographs: the command line `cupdisc-train`."""

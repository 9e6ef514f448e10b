"""One file per layout in which annotated photographs come; each turns a folder into `Example`s."""

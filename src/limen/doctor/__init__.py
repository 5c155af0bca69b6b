"""A look at one data directory and the machine under it: what is well, what is not, and what nobody here can say.

Looks only: it takes no lock, appends nothing, and asks a running gateway for nothing but its state. One probe file is
written and removed, to time the disk. Each part gives lines; `visit` gathers them.
"""

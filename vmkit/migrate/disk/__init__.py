"""From a disk image to its file systems, read-only and without root: format, partitions, volumes, file systems.

An image comes from somebody else's machine. Every number in it is checked before it is used, every table has a
largest size, and every loop ends: a damaged image raises `vmkit.errors.DamagedImage` and never anything else.
"""

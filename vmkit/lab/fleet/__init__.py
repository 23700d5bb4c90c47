"""A believable fleet for the practice cluster, drawn from a seed: who owns what, how large it is, what state it
is in.

``plan`` draws the VMs as values, ``objects`` and ``disks`` write them down as API objects that need no
controller to settle, ``load`` puts them into a lab.
"""

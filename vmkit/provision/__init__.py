"""Creating VMs: templates, answers, manifests, storage, and the run that puts them on a cluster.

Names are imported from the modules they live in; importing the package alone costs nothing.
"""

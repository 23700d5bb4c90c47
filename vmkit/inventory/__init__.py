"""What is there: VMs with their instances as a list, and everything about one of them.

listing.py      VMs and their instances, read in as few requests as there are pages
description.py  one VM with its disks, its events and who owns it
text.py         a description as text
"""

"""The controller: passes made when there is something to do, by one of several replicas.

permissions  what its account has to be allowed beyond a pass, and where it listens
controller   when a pass is made
picture      the VMs as they were last heard of; watching: hears what changes
clock        the cluster's clock between its answers
election     who of several replicas acts
metrics      what monitoring is told; serving: where it asks
reporting    tells people and monitoring, each thing once
lines        what the controller says about itself
"""

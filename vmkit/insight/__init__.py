"""What a fleet really needs: sizes, capacity, energy. Reading stands apart from deciding; deciding is pure.

histogram     decaying histograms of usage
recommender   what a VM needs, as the vertical pod autoscaler would say it; update: whether a change is worth it
series        use over time, on one grid, gaps as NaN; usage reads it from Prometheus, shard by shard
study         what one VM's series say
shape         how large a VM is, and how it says so; sizing: the size it should have, and when that would hold
split         what a reservation is for, in parts that add up
packing       which servers could be off
servers       servers and what fills them, from Node and Pod objects
fleet         reads VMs, instances, named sizes and servers from a cluster
assess        one VM after the other: what it has, uses, should have
capacity      the report about reservations and servers; show_capacity and show_sizes: how reports look
resize        gives VMs other sizes, now or once they are stopped
autoscalers   vertical pod autoscalers aimed at VMs
energy/       what VMs take, and its carbon
"""

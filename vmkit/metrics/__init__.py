"""What monitoring knows of VMs: one summary type, whoever measured.

summary      what is known of one VM's use over a lookback, unknowns among it
source       what every source of summaries offers
prometheus/  Prometheus and what speaks its API: client, queries, recording rules, the source
practice     the practice cluster's own series, through the same summary
logins       who is logged in, as guest agents tell
"""

"""Prometheus, and what speaks its API (Thanos, Mimir, VictoriaMetrics).

client      one query: sent, repeated where that may help, its answer decoded
door        how a server is reached: directly, or through the Kubernetes API
discovery   finds it in a cluster
reply       answers and refusals
queries     the PromQL that a summary is made of
names       which metrics and labels a server has
rules       recording rules that make the queries cheap
source      summaries of many VMs, shard by shard
energy      Kepler's joules, joined to VMs
"""

"""The series a monitoring system would have scraped from the practice cluster, computed from the lab's seed,
never stored.

Names and labels: KubeVirt docs/observability/metrics.md and pkg/monitoring/metrics; Kepler docs/user/metrics.md.
"""

"""KubeVirt's webhooks: what they fill in, what they refuse, and with which words."""

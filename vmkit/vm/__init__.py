"""What a VM is: references, run strategies, power state, the markers vmkit owns, the start and stop contract.

Everything here is pure: mappings as the API returns them in, small frozen values out.
"""

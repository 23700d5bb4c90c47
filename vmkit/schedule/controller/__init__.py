"""The controller: passes made when there is something to do, by one of several replicas.

permissions  what its account has to be allowed beyond a pass, and where it listens
"""

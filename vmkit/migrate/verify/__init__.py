"""The proof: what was built answers as the VM does.

    artifacts + requests -> VM, container, component answer -> compared -> proof.json

`requests`, `tolerances`, `compare` and `proof` decide and are pure. `machine`, `container` and `component` run one
side each, with nothing to reach outside, bounded in time and memory, and gone at the end.
"""

"""A VM's workloads become containers or wasm where that is right.

    source -> tree -> inspect -> facts -> rules -> verdict -> generate -> verify

`disk` opens images and file systems, `tree` makes one rooted read-only view of them, `inspect` collects facts
with evidence, `rules` and `verdict` judge them, `generate` writes images to build and objects to apply. `oci`
writes image layouts, `wasm` builds components, `registry` moves both, `runtime` judges whether a cluster can run
components. What comes before the facts document reads untrusted input and runs nothing of it; deciding on that
document is pure. `verify` is where things run: the VM's disk, what was generated, and the same requests to all.
"""

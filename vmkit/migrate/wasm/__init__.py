"""Components for wasi:http 0.2 out of what a guest serves, and the Spin application around them.

`guest/` is what runs inside a component and `wit/` the interfaces it is built against; `component` builds,
`spin` describes the application for SpinKube.
"""

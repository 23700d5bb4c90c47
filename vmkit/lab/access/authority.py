"""The root certificate that a practice cluster publishes when it does not serve TLS.

Nothing is signed by it and its key was thrown away: it stands where a real cluster's would, so that what mounts
``kube-root-ca.crt`` finds a certificate there. A lab that serves TLS publishes its own.
"""

from __future__ import annotations

from typing import Final

ROOT_CERTIFICATE: Final = """\
-----BEGIN CERTIFICATE-----
MIIBWzCCAQKgAwIBAgIUI1TmmGhvyYm8Eb0xD0l/HIkbLy8wCgYIKoZIzj0EAwIw
ITEfMB0GA1UEAwwWdm1raXQgcHJhY3RpY2UgY2x1c3RlcjAgFw0yNjAxMDEwMDAw
MDBaGA8yMTI2MDEwMTAwMDAwMFowITEfMB0GA1UEAwwWdm1raXQgcHJhY3RpY2Ug
Y2x1c3RlcjBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABEZbc82Ja1a3Bl5/thyG
SM5jOzya+54qcay6XLSKX5JQzN2VcR6jYp/QTKUjxkhKwYqih7pvdbqjSAt/K4QX
mgWjFjAUMBIGA1UdEwEB/wQIMAYBAf8CAQAwCgYIKoZIzj0EAwIDRwAwRAIgCtEv
xrDbeyfl7zbmithXPeu4BMubzta+a+vAbRy/okACICXyxklT1TRKvXyy37Anzjk1
TzfN/Pn64a2DVJd19vFb
-----END CERTIFICATE-----
"""

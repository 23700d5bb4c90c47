"""Builds a small disk of an old web server, without root: python build_small.py old-web.qcow2

It holds what an inspection looks at (package lists, units, configuration, the application), not a system that
boots; build_debian.py makes one of those. Needs mke2fs (e2fsprogs) and, for qcow2, qemu-img (qemu-utils).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

GUEST = Path(__file__).parent / "guest"
PACKAGES = {
    "base-files": ("12.4+deb12u11", ["/etc/os-release", "/usr/bin/true"]),
    "cron": ("3.0pl1-162", ["/usr/sbin/cron"]),
    "nginx-light": ("1.22.1-9", ["/etc/nginx/nginx.conf", "/usr/lib/systemd/system/nginx.service"]),
    "python3-minimal": ("3.11.2-1", ["/usr/bin/python3"]),
}
FILES = {
    "etc/os-release": 'ID=debian\nVERSION_ID="12"\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n',
    "etc/hostname": "old-web\n",
    "etc/fstab": "LABEL=root / ext4 errors=remount-ro 0 1\n",
    "etc/passwd": (
        "root:x:0:0:root:/root:/bin/bash\nwww-data:x:33:33::/var/www:/usr/sbin/nologin\n"
        "notes:x:999:997::/var/lib/notes:/usr/sbin/nologin\ngreeter:x:998:996::/nonexistent:/usr/sbin/nologin\n"
        "alice:x:1000:1000::/home/alice:/bin/bash\n"
    ),
    "etc/group": "root:x:0:\nwww-data:x:33:\nnotes:x:997:\ngreeter:x:996:\nalice:x:1000:\n",
    "etc/hosts": "127.0.0.1 localhost\n10.20.0.7 database.internal\n",
    "etc/nginx/nginx.conf": (
        "http {\n  server {\n    listen 80 default_server;\n    listen [::]:80 default_server;\n"
        "    server_name old-web.example;\n    root /var/www/html;\n"
        "    location / { try_files $uri $uri/ =404; }\n  }\n}\n"
    ),
    "usr/lib/systemd/system/nginx.service": (
        "[Unit]\nDescription=A web server\n[Service]\nType=forking\n"
        "ExecStart=/usr/sbin/nginx -g 'daemon on; master_process on;'\n[Install]\nWantedBy=multi-user.target\n"
    ),
    "usr/bin/python3": "#!/bin/sh\n",
    "var/lib/notes/notes.db": "",
}
COPIES = {
    "notes.py": "opt/notes/notes.py",
    "report.py": "opt/notes/report.py",
    "greeter.py": "opt/greeter/greeter.py",
    "notes.service": "etc/systemd/system/notes.service",
    "greeter.service": "etc/systemd/system/greeter.service",
    "notes.env": "etc/default/notes",
    "notes.cron": "etc/cron.d/notes",
    "index.html": "var/www/html/index.html",
    "style.css": "var/www/html/style.css",
}


def write_root(root: Path) -> None:
    """Writes the guest's files."""
    status = ""
    for name, (version, paths) in PACKAGES.items():
        status += f"Package: {name}\nStatus: install ok installed\nArchitecture: amd64\nVersion: {version}\n\n"
        put(root, f"var/lib/dpkg/info/{name}.list", "/.\n" + "".join(f"{path}\n" for path in paths))
    put(root, "var/lib/dpkg/status", status)
    for path, text in FILES.items():
        put(root, path, text)
    for source, path in COPIES.items():
        put(root, path, (GUEST / source).read_text(encoding="utf-8"))
    (root / "etc/default/notes").chmod(0o600)
    program = shutil.which("true")
    if program:  # tells the machine's architecture
        shutil.copy(program, root / "usr/bin/true")
    wants = root / "etc/systemd/system/multi-user.target.wants"
    wants.mkdir()
    for unit, folder in (("notes", "/etc"), ("greeter", "/etc"), ("nginx", "/usr/lib")):
        (wants / f"{unit}.service").symlink_to(f"{folder}/systemd/system/{unit}.service")
    (root / "bin").symlink_to("usr/bin")
    (root / "sbin").mkdir()
    (root / "sbin/init").symlink_to("/usr/lib/systemd/systemd")


def put(root: Path, path: str, text: str) -> None:
    target = root / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text, encoding="utf-8")


def find(program: str, package: str) -> str:
    path = shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if path is None:
        sys.exit(f"error: {program} is not installed\nhint: apt install {package}")
    return path


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit("usage: build_small.py DISK.qcow2|DISK.raw")
    target = Path(sys.argv[1])
    with tempfile.TemporaryDirectory() as folder:
        root, raw = Path(folder) / "root", Path(folder) / "disk.raw"
        write_root(root)
        mke2fs = find("mke2fs", "e2fsprogs")
        subprocess.run([mke2fs, "-q", "-F", "-t", "ext4", "-L", "root", "-d", root, raw, "32M"], check=True)
        if target.suffix == ".qcow2":
            qemu_img = find("qemu-img", "qemu-utils")
            subprocess.run([qemu_img, "convert", "-c", "-f", "raw", "-O", "qcow2", raw, target], check=True)
        else:
            shutil.copy(raw, target)


if __name__ == "__main__":
    main()

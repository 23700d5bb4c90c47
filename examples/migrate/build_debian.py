"""Builds a whole Debian that boots, with the guest's services on it: python build_debian.py web.qcow2 data.qcow2

The first disk has a GPT with GRUB for BIOS and the root file system; the second is one file system without a
table, mounted on /srv/data. Nothing is mounted and no loop device is used: mke2fs fills the file systems, and
GRUB's two first stages are put where grub-install would have put them. Takes a minute or two. Needs mmdebstrap,
e2fsprogs, gdisk and qemu-utils; runs as root, or as anybody where unprivileged user namespaces are allowed.
"""

from __future__ import annotations

import os
import shlex
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

from build_small import GUEST, find

SUITE = "bookworm"
PACKAGES = [
    "systemd", "systemd-sysv", "udev", "dbus", "kmod", "iproute2", "linux-image-cloud-amd64", "grub-pc-bin",
    "grub-common", "openssh-server", "cron", "qemu-guest-agent", "nginx-light", "python3-minimal",
    "libpython3-stdlib",
]  # fmt: skip
SECTOR = 512
MIB = 2**20
BOOT_AT = 1 * MIB
ROOT_AT = 2 * MIB
ROOT_SIZE = 1200 * MIB
DATA_SIZE = 64 * MIB

# Runs in mmdebstrap's namespace, where files have the ids that the guest will see. $1 is its root, $2 where
# results go, $3 the example's files, $4 the size of the file system.
SETUP = r"""
set -eu
root="$1" out="$2" guest="$3"
# mode, source, target
put() { install -D -m "$1" "$guest/$2" "$root$3"; }
echo old-web >"$root/etc/hostname"
chroot "$root" groupadd --system --gid 970 notes
chroot "$root" useradd --system --uid 980 --gid 970 --home-dir /var/lib/notes --shell /usr/sbin/nologin notes
chroot "$root" useradd --system --uid 981 --user-group --home-dir /nonexistent --shell /usr/sbin/nologin greeter
chroot "$root" useradd --create-home --shell /bin/bash alice
put 644 notes.py /opt/notes/notes.py
put 644 report.py /opt/notes/report.py
put 644 greeter.py /opt/greeter/greeter.py
put 644 notes.service /etc/systemd/system/notes.service
put 644 greeter.service /etc/systemd/system/greeter.service
put 600 notes.env /etc/default/notes
put 644 notes.cron /etc/cron.d/notes
put 644 index.html /var/www/html/index.html
put 644 style.css /var/www/html/style.css
rm -f "$root/var/www/html/index.nginx-debian.html"
install -d -o 980 -g 970 -m 755 "$root/var/lib/notes"
install -d "$root/srv/data"
printf 'LABEL=root / ext4 errors=remount-ro 0 1\nLABEL=data /srv/data ext4 nofail 0 2\n' >"$root/etc/fstab"
printf '[Match]\nName=e*\n[Network]\nDHCP=ipv4\n' >"$root/etc/systemd/network/lan.network"
chroot "$root" systemctl --quiet enable notes greeter nginx systemd-networkd
# A first boot that asks nobody: mmdebstrap leaves the machine id to be made then.
kernel="$(basename "$root"/boot/vmlinuz-*)"
mkdir -p "$root/boot/grub"
cat >"$root/boot/grub/grub.cfg" <<CFG
set timeout=0
menuentry Debian {
  linux /boot/$kernel root=LABEL=root ro console=ttyS0
  initrd /boot/initrd.img-${kernel#vmlinuz-}
}
CFG
printf 'search --no-floppy --label root --set root\nset prefix=($root)/boot/grub\n' >"$root/tmp/early.cfg"
chroot "$root" grub-mkimage --format=i386-pc --config=/tmp/early.cfg --prefix=/boot/grub --output=/tmp/core.img \
  biosdisk part_gpt ext2 normal linux configfile search search_label
cp "$root/tmp/core.img" "$root/usr/lib/grub/i386-pc/boot.img" "$out/"
rm -f "$root/tmp/core.img" "$root/tmp/early.cfg" "$root"/var/cache/apt/*.bin
rm -rf "$root"/var/lib/apt/lists/* "$root"/var/cache/apt/archives/*.deb
# mmdebstrap has /proc and /sys mounted on the root; a copy of its own file system has neither.
cp -a --one-file-system "$root" "$out/tree"
mke2fs -q -F -t ext4 -L root -d "$out/tree" "$out/root.img" "$4"
rm -rf "$out/tree"
"""


def build_root(work: Path) -> None:
    """Makes the root file system and GRUB's stages: root.img, boot.img, core.img."""
    (work / "setup").write_text(SETUP, encoding="utf-8")
    # Without root, mmdebstrap is another user than the one who made the folder.
    work.chmod(0o777)
    hook = f'sh {shlex.quote(f"{work}/setup")} "$1" {shlex.join([str(work), str(GUEST), f"{ROOT_SIZE // 1024}k"])}'
    command = [
        find("mmdebstrap", "mmdebstrap"), "--quiet", "--variant=minbase", "--format=null",
        f"--include={','.join(PACKAGES)}", "--aptopt=Acquire::Languages none",
        "--dpkgopt=path-exclude=/usr/share/doc/*", "--dpkgopt=path-exclude=/usr/share/man/*",
        "--dpkgopt=path-exclude=/usr/share/locale/*", f"--customize-hook={hook}", SUITE,
    ]  # fmt: skip
    environment = {**os.environ, "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin", "LC_ALL": "C.UTF-8"}
    subprocess.run([*command, "-"], check=True, env=environment, stdout=subprocess.DEVNULL)


def write_disk(work: Path, disk: Path) -> None:
    """Puts partition table, GRUB and root file system together."""
    with disk.open("wb") as file:
        file.truncate(ROOT_AT + ROOT_SIZE + MIB)
    first, last = ROOT_AT // SECTOR, (ROOT_AT + ROOT_SIZE) // SECTOR - 1
    table = ["-o", f"-n1:{BOOT_AT // SECTOR}:{first - 1}", "-t1:ef02", f"-n2:{first}:{last}", "-t2:8300"]
    subprocess.run([find("sgdisk", "gdisk"), *table, disk], check=True, stdout=subprocess.DEVNULL)
    copy = ["dd", f"if={work / 'root.img'}", f"of={disk}", "bs=1M", f"seek={ROOT_AT // MIB}"]
    subprocess.run([*copy, "conv=notrunc,sparse", "status=none"], check=True)
    boot = bytearray((work / "boot.img").read_bytes())
    core = bytearray((work / "core.img").read_bytes())
    sectors = -(-len(core) // SECTOR)
    if sectors > (ROOT_AT - BOOT_AT) // SECTOR:
        sys.exit("error: GRUB does not fit into its partition")
    # GRUB's i386/pc/boot.S: where core.img's first sector is (0x5c), and the jump that only floppies need (0x66).
    struct.pack_into("<Q", boot, 0x5C, BOOT_AT // SECTOR)
    boot[0x66:0x68] = b"\x90\x90"
    # GRUB's i386/pc/diskboot.S: at the end of that sector, where the others are: start, count, segment to load to.
    struct.pack_into("<QHH", core, SECTOR - 12, BOOT_AT // SECTOR + 1, sectors - 1, 0x820)
    with disk.open("r+b") as file:
        file.write(bytes(boot[:440]))  # the rest of the sector is the protective MBR
        file.seek(BOOT_AT)
        file.write(bytes(core))


def write_data(work: Path, disk: Path) -> None:
    """The second disk: one file system, no table."""
    folder = work / "data"
    (folder / "archive").mkdir(parents=True)
    (folder / "archive" / "2019.csv").write_text("day,visits\n" + "2019-01-01,17\n" * 2000, encoding="utf-8")
    owner = ["-E", "root_owner=0:0"]
    mke2fs = find("mke2fs", "e2fsprogs")
    subprocess.run(
        [mke2fs, "-q", "-F", "-t", "ext4", "-L", "data", *owner, "-d", folder, disk, f"{DATA_SIZE // 1024}k"],
        check=True,
    )


def main() -> None:
    if len(sys.argv) != 3:
        sys.exit("usage: build_debian.py DISK.qcow2 DATA.qcow2")
    qemu_img = find("qemu-img", "qemu-utils")
    with tempfile.TemporaryDirectory(prefix="vmkit-debian-") as folder:
        Path(folder).chmod(0o711)
        work = Path(folder) / "work"
        work.mkdir()
        build_root(work)
        disk, data = Path(folder) / "disk.raw", Path(folder) / "data.raw"
        write_disk(work, disk)
        write_data(work, data)
        for raw, target in ((disk, sys.argv[1]), (data, sys.argv[2])):
            subprocess.run([qemu_img, "convert", "-c", "-W", "-f", "raw", "-O", "qcow2", raw, target], check=True)


if __name__ == "__main__":
    main()

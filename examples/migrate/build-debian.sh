#!/bin/sh
# A whole Debian with the guest's services on it, on a GPT disk with a second file system for data:
#   sh build-debian.sh old-web.qcow2
# No mounts and no loop devices. Needs mmdebstrap, e2fsprogs, gdisk and qemu-utils; runs as root, or where
# unprivileged user namespaces are allowed, as anybody (files then get the ids that mmdebstrap maps).
set -eu
[ $# -eq 1 ] || { echo "usage: build-debian.sh DISK.qcow2" >&2; exit 2; }
for program in mmdebstrap mke2fs sgdisk qemu-img; do
  PATH="$PATH:/usr/sbin:/sbin" command -v "$program" >/dev/null || {
    echo "error: $program is not installed" >&2
    echo "hint: apt install mmdebstrap e2fsprogs gdisk qemu-utils" >&2; exit 2; }
done
PATH="$PATH:/usr/sbin:/sbin"
guest="$(cd "$(dirname "$0")/guest" && pwd)"
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT INT TERM

cat >"$work/setup" <<SETUP
set -eu
root="\$1"
echo old-web >"\$root/etc/hostname"
chroot "\$root" useradd -r -d /var/lib/notes -s /usr/sbin/nologin notes
chroot "\$root" useradd -r -d /nonexistent -s /usr/sbin/nologin greeter
chroot "\$root" useradd -m -s /bin/bash alice
install -D -m 644 "$guest/notes.py" "\$root/opt/notes/notes.py"
install -D -m 644 "$guest/report.py" "\$root/opt/notes/report.py"
install -D -m 644 "$guest/greeter.py" "\$root/opt/greeter/greeter.py"
install -m 644 "$guest/notes.service" "$guest/greeter.service" "\$root/etc/systemd/system/"
install -m 600 "$guest/notes.env" "\$root/etc/default/notes"
install -m 644 "$guest/notes.cron" "\$root/etc/cron.d/notes"
install -m 644 "$guest/index.html" "$guest/style.css" "\$root/var/www/html/"
rm -f "\$root/var/www/html/index.nginx-debian.html"
mkdir -p "\$root/var/lib/notes" "\$root/srv/data"
chroot "\$root" chown notes:notes /var/lib/notes
chroot "\$root" systemctl enable notes greeter nginx
printf 'LABEL=root / ext4 errors=remount-ro 0 1\nLABEL=data /srv/data ext4 nofail 0 2\n' >"\$root/etc/fstab"
SETUP

mmdebstrap --quiet --variant=minbase --format=directory \
  --include=systemd,systemd-sysv,udev,dbus,linux-image-cloud-amd64,ifupdown,isc-dhcp-client,iproute2,openssh-server,nginx-light,python3-minimal,libpython3-stdlib,cron,qemu-guest-agent,ca-certificates,kmod \
  --aptopt='Acquire::Languages "none"' \
  --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
  --customize-hook="sh $work/setup \"\$1\"" bookworm "$work/root"
mkdir "$work/data"
echo "some data" >"$work/data/file.txt"

mke2fs -q -F -t ext4 -L root -d "$work/root" "$work/root.img" 1500M
mke2fs -q -F -t ext4 -L data -d "$work/data" "$work/data.img" 200M
truncate -s 1708M "$work/disk.raw"
dd if="$work/root.img" of="$work/disk.raw" bs=1M seek=2 conv=notrunc,sparse status=none
dd if="$work/data.img" of="$work/disk.raw" bs=1M seek=1502 conv=notrunc,sparse status=none
sgdisk -o -n1:4096:3076095 -t1:8300 -n2:3076096:3485695 -t2:8300 "$work/disk.raw" >/dev/null
qemu-img convert -c -f raw -O qcow2 "$work/disk.raw" "$1"

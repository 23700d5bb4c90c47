"""Which services are the application, and which are what a cluster does itself or a guest needs to be one."""

from __future__ import annotations

import re
from typing import Final

WORKLOAD: Final = "workload"
PLATFORM: Final = "platform"

_PLATFORM: Final = re.compile(
    r"""^(?:
    systemd-.*|dbus(?:-.*)?|getty@.*|serial-getty@.*|console-getty|autovt@.*|user@.*|init|rc-local-empty
    |ssh|sshd(?:@.*|-keygen.*)?|cron|crond|anacron|atd|rsyslog|syslog(?:-ng)?|auditd|logrotate|man-db
    |networking|network|NetworkManager(?:-.*)?|ifup@.*|dhclient.*|dhcpcd|wpa_supplicant|ModemManager|resolvconf
    |chrony(?:d)?|ntp(?:d|sec)?|systemd-timesyncd|openntpd|haveged|rngd|rng-tools.*
    |qemu-guest-agent|qemu-ga|open-vm-tools|vmtoolsd|vgauth|hv-.*|hypervvssd|walinuxagent|google-.*|amazon-ssm-agent
    |cloud-(?:init|config|final).*|cloud-init-.*|ignition.*|afterburn.*|growpart|acpid|acpi-.*
    |unattended-upgrades|apt-(?:daily|show|listchanges).*|packagekit|dnf-.*|dnf5-.*|yum-.*|snapd.*|snap\..*|update-notifier.*
    |fstrim|e2scrub.*|mdmonitor|mdadm.*|mdcheck.*|lvm2?-.*|dm-event|blk-availability|smartd|smartmontools|udisks2|multipathd
    |keyboard-setup|console-setup|setvtrgb|kmod.*|grub-.*|plymouth.*|finalrd|ldconfig|dpkg-db-backup|pollinate
    |apparmor|selinux-.*|restorecond|ufw|firewalld|nftables|iptables|ip6tables|netfilter-persistent|fail2ban
    |tuned|irqbalance|power-profiles-daemon|thermald|polkit|polkitd|accounts-daemon|rtkit-daemon|avahi-daemon|cups.*|colord
    |kdump|kexec.*|abrt.*|sysstat.*|sa1|sa2|mcelog|rasdaemon|import-state|nis-domainname|sssd.*|nscd|nslcd|rpcbind
    |node[_-]exporter|prometheus-node-exporter|telegraf|collectd|datadog-agent.*|zabbix-agent.*|nrpe|nagios-nrpe-server
    |filebeat|metricbeat|fluent-?bit|promtail|vector|td-agent(?:-bit)?|newrelic-infra|puppet|chef-client|salt-minion
    |motd-news|ua-.*|ubuntu-advantage.*|esm-.*|secureboot-db|remote-fs|machines|hwclock.*|urandom|procps|sudo|x11-common
    |nfs-client|rpc-statd.*|nfs-utils|auth-rpcgss-module|binfmt-.*|emergency|rescue|debug-shell|swap.*|modules|sysctl|hostname
    |bootmisc|localmount|loopback|mdev|hwdrivers|keymaps|devfs|dmesg|seedrng|mount-ro|killprocs|savecache|osclock|cgroups
    )$""",
    re.VERBOSE,
)


def role_of_unit(name: str, *, one_shot: bool, packaged: bool) -> str:
    """ "platform" or "workload" for a service's name without its suffix.

    A one-shot that came with a package prepares the machine (keyboard, swap, keys): platform. One that somebody
    wrote is work.
    """
    bare = name.removesuffix(".service")
    if _PLATFORM.match(bare):
        return PLATFORM
    return PLATFORM if one_shot and packaged else WORKLOAD

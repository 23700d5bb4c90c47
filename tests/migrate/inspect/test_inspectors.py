"""Each kind of fact, out of small guests."""

from __future__ import annotations

import hashlib
import sqlite3
import struct
from pathlib import Path

import pytest

from tests.migrate.guests import DEBIAN, ELF_X86_64, F, Link, facts_of, guest, service, tree_of, unit
from vmkit.migrate.inspect.nginx import parse_listen, tokenize
from vmkit.migrate.inspect.packages import inspect_packages, parse_control, parse_rpm_header
from vmkit.migrate.inspect.python_libraries import parse_source
from vmkit.migrate.inspect.secrets import is_secret_name, redact, scan_text, withhold
from vmkit.migrate.inspect.system import inspect_system, read_machine
from vmkit.migrate.inspect.unit_files import parse_environment_file, parse_size, parse_span, parse_unit

# --- the system ----------------------------------------------------------------------------------------------


def test_a_debian_guest_is_known() -> None:
    system = facts_of().os
    assert system is not None
    assert (system.family, system.id, system.version, system.architecture, system.init, system.hostname) == (
        "debian", "debian", "12", "x86_64", "systemd", "old-web",
    )  # fmt: skip
    assert [str(one) for one in system.evidence] == ["/etc/os-release", "/sbin/init"]


@pytest.mark.parametrize(
    ("release", "family"),
    [
        ("ID=rocky\nID_LIKE='rhel centos fedora'\n", "rhel"),
        ("ID=ubuntu\nID_LIKE=debian\n", "debian"),
        ("ID=made-up\nID_LIKE=debian\n", "debian"),
        ("ID=opensuse-leap\n", "suse"),
        ("ID=alpine\n", "alpine"),
        ("ID=unheard-of\n", "other"),
        ('ID="unclosed\n', "other"),
    ],
)
def test_families_go_by_name_never_by_version(release: str, family: str) -> None:
    assert inspect_system(tree_of({"/usr/lib/os-release": release})).family == family


def test_old_systems_without_os_release() -> None:
    system = inspect_system(tree_of({"/etc/redhat-release": "CentOS release 6.10 (Final)\n", "/etc/inittab": ""}))
    assert (system.family, system.name, system.init) == ("rhel", "CentOS release 6.10 (Final)", "sysvinit")


@pytest.mark.parametrize(
    ("head", "machine"),
    [
        (ELF_X86_64, "x86_64"),
        (b"\x7fELF\x01\x01" + bytes(10) + struct.pack("<HH", 2, 3), "i686"),
        (b"\x7fELF\x02\x02" + bytes(10) + struct.pack(">HH", 2, 22), "s390x"),
        (b"\x7fELF", ""),
        (b"#!/bin/sh", ""),
    ],
)
def test_architectures_come_from_elf_headers(head: bytes, machine: str) -> None:
    assert read_machine(head) == machine


# --- packages ------------------------------------------------------------------------------------------------


def test_dpkg_packages_owners_and_changed_configuration() -> None:
    original = "port = 80\n"
    digest = hashlib.md5(original.encode()).hexdigest()
    status = (
        "Package: web\nStatus: install ok installed\nVersion: 1.2-3\nArchitecture: amd64\nConffiles:\n"
        f" /etc/web.conf {digest}\n /etc/kept.conf {digest}\n /etc/gone.conf {digest} obsolete\n\n"
        "Package: removed\nStatus: deinstall ok config-files\nVersion: 1\n"
    )
    facts = facts_of(
        {
            "/var/lib/dpkg/status": status,
            "/var/lib/dpkg/info/web:amd64.list": "/.\n/bin/web\n/etc/web.conf\n/etc/kept.conf\n",
            "/usr/bin/web": "x",
            "/etc/web.conf": "port = 8080\n",
            "/etc/kept.conf": original,
            "/opt/app/run": "mine",
        }
    )
    assert [(one.name, one.version, one.architecture) for one in facts.packages.items] == [
        ("web", "1.2-3", "amd64")
    ]
    assert [(one.path, one.package) for one in facts.changed_configuration] == [("/etc/web.conf", "web")]
    unowned = [one.path for one in facts.unowned_files]
    assert "/opt/app/run" in unowned
    assert "/usr/bin/web" not in unowned, "the package's list says /bin/web, and /bin is a link to usr/bin"


def test_apk_packages_and_owners() -> None:
    packages, owners = inspect_packages(
        tree_of(
            {
                "/lib/apk/db/installed": "P:musl\nV:1.2.4\nA:x86_64\nF:lib\nR:libc.so\n\nP:nginx\nV:1.24\nF:usr/sbin\nR:nginx\n\n"
            }
        )
    )
    assert [(one.name, one.version) for one in packages.items] == [("musl", "1.2.4"), ("nginx", "1.24")]
    assert owners.package_of("/usr/sbin/nginx") == "nginx"
    assert owners.package_of("/lib/libc.so") == "musl"


def rpm_header(name: str, version: str, files: dict[str, tuple[int, str]]) -> bytes:
    """An rpm header blob as the database keeps it."""
    folders = sorted({path.rsplit("/", 1)[0] + "/" for path in files})
    bases = [path.rsplit("/", 1)[1] for path in files]
    indexes = [folders.index(path.rsplit("/", 1)[0] + "/") for path in files]

    def texts(items: list[str]) -> bytes:
        return b"".join(one.encode() + b"\0" for one in items)

    entries: list[tuple[int, int, int, bytes]] = [
        (1000, 6, 1, texts([name])), (1001, 6, 1, texts([version])), (1002, 6, 1, texts(["1.el9"])),
        (1003, 4, 1, struct.pack(">I", 2)), (1022, 6, 1, texts(["x86_64"])),
        (1035, 8, len(files), texts([digest for _, digest in files.values()])),
        (1037, 4, len(files), struct.pack(f">{len(files)}I", *(flag for flag, _ in files.values()))),
        (1116, 4, len(files), struct.pack(f">{len(files)}I", *indexes)),
        (1117, 8, len(files), texts(bases)), (1118, 8, len(folders), texts(folders)),
    ]  # fmt: skip
    data, index = b"", b""
    for tag, kind, count, value in entries:
        data += bytes(-len(data) % 4) if kind == 4 else b""
        index += struct.pack(">IIII", tag, kind, len(data), count)
        data += value
    return struct.pack(">II", len(entries), len(data)) + index + data


def rpm_database(
    path: Path, blobs: list[bytes], schema: str = "CREATE TABLE Packages (hnum INTEGER, blob BLOB)"
) -> bytes:
    database = sqlite3.connect(path)
    database.execute(schema)
    if blobs:
        database.executemany("INSERT INTO Packages VALUES (?, ?)", list(enumerate(blobs)))
    database.commit()
    database.close()
    return path.read_bytes()


def test_rpm_packages_owners_and_changed_configuration(tmp_path: Path) -> None:
    digest = hashlib.sha256(b"as installed").hexdigest()
    blob = rpm_header("httpd", "2.4.57", {"/usr/sbin/httpd": (0, ""), "/etc/httpd/conf/httpd.conf": (1, digest)})
    facts = facts_of(
        {
            "/etc/os-release": "ID=rocky\n",
            "/var/lib/rpm/rpmdb.sqlite": rpm_database(tmp_path / "rpmdb.sqlite", [blob, b"broken"]),
            "/usr/sbin/httpd": "x",
            "/usr/sbin/mine": "x",
            "/etc/httpd/conf/httpd.conf": "changed",
        },
        bare=True,
    )
    assert [(one.name, one.version, one.architecture) for one in facts.packages.items] == [
        ("httpd", "2:2.4.57-1.el9", "x86_64")
    ]
    assert [one.path for one in facts.changed_configuration] == ["/etc/httpd/conf/httpd.conf"]
    unowned = [one.path for one in facts.unowned_files]
    assert "/usr/sbin/mine" in unowned
    assert "/usr/sbin/httpd" not in unowned


@pytest.mark.parametrize(
    "schema",
    [
        "CREATE VIEW Packages AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n) SELECT i AS hnum, i AS blob FROM n",
        "CREATE TABLE Other (x)",
    ],
)
def test_an_rpm_database_that_is_a_trap_is_not_read(schema: str, tmp_path: Path) -> None:
    packages, owners = inspect_packages(
        tree_of({"/var/lib/rpm/rpmdb.sqlite": rpm_database(tmp_path / "trap", [], schema)})
    )
    assert packages.problem.startswith("the rpm database cannot be read")
    assert not owners.known


def test_old_rpm_databases_are_named() -> None:
    packages, _ = inspect_packages(tree_of({"/var/lib/rpm/Packages": b"\0" * 100}))
    assert packages.manager == "rpm"
    assert "older format" in packages.problem


def test_headers_that_lie_give_nothing() -> None:
    assert parse_rpm_header(b"") == {}
    assert parse_rpm_header(struct.pack(">II", 2**31, 8) + bytes(100)) == {}
    assert parse_rpm_header(struct.pack(">IIIIII", 1, 4, 1000, 6, 2**30, 1) + b"abc\0") == {}


def test_without_a_database_nothing_is_called_unowned() -> None:
    facts = facts_of({"/etc/os-release": "ID=x\n", "/opt/app": "1"}, bare=True)
    assert facts.unowned_files == []
    assert any("not known" in note for note in facts.notes)


def test_control_paragraphs() -> None:
    assert list(parse_control("Package: a\nX: 1\n 2\n\n\nnot a field\nPackage: b\n")) == [
        {"Package": "a", "X": "1\n2"},
        {"not a field": "", "Package": "b"},
    ]


# --- units ---------------------------------------------------------------------------------------------------


def test_a_unit_with_drop_ins_and_environment() -> None:
    facts = facts_of(
        service(
            "shop",
            "[Unit]\nDescription=The shop\n[Service]\nType=simple\nUser=app\nGroup=app\nWorkingDirectory=/srv/shop\n"
            'Environment="GREETING=hello there" MODE=prod\nEnvironmentFile=-/etc/default/shop\n'
            "ExecStartPre=/usr/bin/mkdir -p /run/shop\nExecStart=/srv/shop/run \\\n    --verbose\nRestart=always\n"
            "StateDirectory=shop shop/cache\nMemoryMax=512M\nCPUQuota=150%\nTimeoutStopSec=1min 30s\nKillSignal=SIGINT\n"
            "AmbientCapabilities=CAP_NET_BIND_SERVICE\nReadWritePaths=/var/lib/other\nBroken line\n",
        ),
        {
            "/etc/systemd/system/shop.service.d/10-start.conf": "[Service]\nExecStart=\nExecStart=!/srv/shop/run --port 9000\n",
            "/etc/default/shop": "# comment\nexport DB_HOST=db\nDB_PASSWORD='hidden'\nURL=https://u:pw@host/\n",
            "/srv/shop/run": ELF_X86_64,
        },
    )
    [shop] = [one for one in facts.units if one.name == "shop.service"]
    assert shop.role == "workload"
    assert shop.description == "The shop"
    assert shop.commands == ["/srv/shop/run --port 9000"]
    assert shop.before_start == ["/usr/bin/mkdir -p /run/shop"]
    assert (shop.user, shop.group, shop.working_directory, shop.restart) == ("app", "app", "/srv/shop", "always")
    assert {one.name: one.value for one in shop.environment} == {
        "GREETING": "hello there", "MODE": "prod", "DB_HOST": "db", "DB_PASSWORD": None, "URL": "https://u:***@host/",
    }  # fmt: skip
    assert shop.state_directories == ["/var/lib/shop", "/var/lib/shop/cache"]
    assert (shop.memory_max_bytes, shop.cpu_quota_percent, shop.stop_timeout_seconds) == (512 * 2**20, 150.0, 90.0)
    assert (shop.kill_signal, shop.capabilities, shop.writable_paths) == (
        "SIGINT", ["CAP_NET_BIND_SERVICE"], ["/var/lib/other"],
    )  # fmt: skip
    assert shop.problems == ["line 21: neither a section nor an assignment"]
    assert [str(one) for one in shop.evidence] == [
        "/etc/systemd/system/shop.service", "/etc/systemd/system/shop.service.d/10-start.conf",
    ]  # fmt: skip
    assert [(one.port, one.service) for one in facts.listeners] == [(9000, "shop.service")]


def test_masked_disabled_and_rescue_units_do_not_count() -> None:
    facts = facts_of(
        service("good", unit("/srv/good")),
        {
            "/usr/lib/systemd/system/disabled.service": unit("/srv/x"),
            "/etc/systemd/system/masked.service": Link("/dev/null"),
            "/usr/lib/systemd/system/masked.service": unit("/srv/x"),
            "/etc/systemd/system/multi-user.target.wants/masked.service": Link(
                "/usr/lib/systemd/system/masked.service"
            ),
            "/etc/systemd/system/empty.service": "",
            "/etc/systemd/system/multi-user.target.wants/empty.service": Link("/etc/systemd/system/empty.service"),
            "/etc/systemd/system/rescue.target.wants/r.service": Link("/usr/lib/systemd/system/disabled.service"),
            "/etc/systemd/system/multi-user.target.wants/dangling.service": Link("/nowhere"),
        },
    )
    assert [one.name for one in facts.units] == ["good.service"]


def test_instances_of_a_template_get_their_name() -> None:
    facts = facts_of(
        {
            "/etc/systemd/system/worker@.service": unit("/srv/worker --queue %i", user="app"),
            "/etc/systemd/system/multi-user.target.wants/worker@mail.service": Link(
                "/etc/systemd/system/worker@.service"
            ),
        }
    )
    assert [(one.name, one.commands) for one in facts.units] == [
        ("worker@mail.service", ["/srv/worker --queue mail"])
    ]


def test_timers_sockets_scripts_and_rc_local() -> None:
    facts = facts_of(
        {
            "/etc/systemd/system/backup.timer": "[Timer]\nOnCalendar=daily\nOnCalendar=Mon 03:00\n",
            "/etc/systemd/system/backup.service": "[Service]\nType=oneshot\nExecStart=/srv/backup\n",
            "/etc/systemd/system/timers.target.wants/backup.timer": Link("/etc/systemd/system/backup.timer"),
            "/etc/systemd/system/echo.socket": "[Socket]\nListenStream=7000\nListenStream=/run/echo.sock\nListenDatagram=127.0.0.1:53\n",
            "/etc/systemd/system/echo.service": unit("/srv/echo"),
            "/etc/systemd/system/sockets.target.wants/echo.socket": Link("/etc/systemd/system/echo.socket"),
            "/etc/init.d/legacy": "#!/bin/sh\n",
            "/etc/rc2.d/S20legacy": Link("../init.d/legacy"),
            "/etc/rc.local": "#!/bin/sh -e\n# nothing\n/srv/start --password=hidden &\nexit 0\n",
        }
    )
    assert [(one.name, one.started_by, one.kind) for one in facts.units] == [
        ("backup.service", "timer", "oneshot"),
        ("echo.service", "socket", "simple"),
        ("legacy.service", "boot", "script"),
        ("rc-local.service", "boot", "script"),
    ]
    assert facts.units[3].commands == ["/srv/start --password=*** &"]
    assert [(one.unit, one.calendar) for one in facts.timers] == [("backup.service", ["daily", "Mon 03:00"])]
    assert [(one.protocol, one.address, one.port) for one in facts.listeners] == [
        ("unix", "/run/echo.sock", None), ("udp", "127.0.0.1", 53), ("tcp", "*", 7000),
    ]  # fmt: skip


def test_openrc_services() -> None:
    facts = facts_of(
        {
            "/etc/os-release": "ID=alpine\n",
            "/etc/init.d/shop": "#!/sbin/openrc-run\n",
            "/etc/runlevels/default/shop": Link("/etc/init.d/shop"),
            "/etc/runlevels/default/crond": Link("/etc/init.d/crond"),
        },
        bare=True,
    )
    assert [(one.name, one.role) for one in facts.units] == [
        ("crond.service", "platform"),
        ("shop.service", "workload"),
    ]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90),
        ("5min 20s", 320),
        ("1h", 3600),
        ("infinity", None),
        ("", None),
        ("5 parsecs", None),
        ("500ms", 0.5),
    ],
)
def test_time_spans(text: str, seconds: float | None) -> None:
    assert parse_span(text) == seconds


@pytest.mark.parametrize(
    ("text", "size"), [("512M", 512 * 2**20), ("1024", 1024), ("50%", None), ("infinity", None)]
)
def test_sizes(text: str, size: int | None) -> None:
    assert parse_size(text) == size


def test_unit_files_follow_systemds_syntax() -> None:
    parsed = parse_unit(
        "outside=1\n[A]\n# comment\n; comment\nkey = one \\\n  two\nkey=\nkey=three\n[B]\nkey=four\n"
    )
    assert parsed.all("A", "key") == ["three"]
    assert parsed.last("B", "key") == "four"
    assert parsed.problems == ["line 1: neither a section nor an assignment"]


def test_environment_files() -> None:
    assert parse_environment_file("A=1\n export B='two words'\n#C=3\nnot one\nD=\"x\n1X=2\n") == [
        ("A", "1", 1), ("B", "two words", 2), ("D", '"x', 5),
    ]  # fmt: skip


# --- cron ----------------------------------------------------------------------------------------------------


def test_cron_jobs_with_their_user_and_place() -> None:
    facts = facts_of(
        {
            "/etc/crontab": "SHELL=/bin/sh\n17 * * * * root\tcd / && run-parts --report /etc/cron.hourly\n",
            "/etc/cron.d/shop": "MAILTO=x\n# comment\n*/5 * * * * app\t/srv/shop/report --token=hidden\n@reboot root /srv/shop/warm\n",
            "/var/spool/cron/crontabs/alice": "0 3 * * mon /home/alice/backup\n",
            "/etc/cron.daily/clean": "#!/bin/sh\n",
        }
    )
    assert [(one.schedule, one.user, one.command, one.role, str(one.evidence[0])) for one in facts.cron_jobs] == [
        ("17 * * * *", "root", "cd / && run-parts --report /etc/cron.hourly", "platform", "/etc/crontab:2"),
        ("*/5 * * * *", "app", "/srv/shop/report --token=***", "workload", "/etc/cron.d/shop:3"),
        ("@reboot", "root", "/srv/shop/warm", "workload", "/etc/cron.d/shop:4"),
        ("0 3 * * mon", "alice", "/home/alice/backup", "workload", "/var/spool/cron/crontabs/alice:1"),
        ("@daily", "root", "/etc/cron.daily/clean", "workload", "/etc/cron.daily/clean"),
    ]


# --- listeners -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text", "files", "expected"),
    [
        ("a", unit("/srv/a --port 8080"), {}, ("*", 8080)),
        ("a", unit("/srv/a --port=8080"), {}, ("*", 8080)),
        ("a", unit("/srv/a -p 81"), {}, ("*", 81)),
        ("a", unit("/srv/a --bind 10.0.0.5:9000"), {}, ("10.0.0.5", 9000)),
        ("a", unit("/srv/a --http :9000"), {}, ("*", 9000)),
        ("a", unit("/srv/a --listen [::]:9000"), {}, ("[::]", 9000)),
        ("a", unit("/srv/a", "Environment=PORT=7000"), {}, ("*", 7000)),
        ("a", unit("/srv/a --port $PORT", "Environment=PORT=7001"), {}, ("*", 7001)),
        ("a", unit("/usr/bin/java -Dserver.port=8085 -jar /srv/a.jar"), {}, ("*", 8085)),
        ("postgresql", unit("/bin/true"),
        {"/etc/postgresql/15/main/postgresql.conf": "port = 5433\nlisten_addresses = '*'\n"}, ("*", 5433)),
        ("postgresql", unit("/bin/true"), {}, ("localhost", 5432)),
        ("mariadb", unit("/usr/sbin/mariadbd"),
        {"/etc/mysql/mariadb.conf.d/50.cnf": "[mysqld]\nbind-address = 127.0.0.1\n"}, ("127.0.0.1", 3306)),
        ("redis-server", unit("/usr/bin/redis-server"),
        {"/etc/redis/redis.conf": "bind 10.1.1.1\nport 6380\n"}, ("10.1.1.1", 6380)),
        ("haproxy", unit("/usr/sbin/haproxy"),
        {"/etc/haproxy/haproxy.cfg": "frontend f\n  bind *:8443 ssl\n"}, ("*", 8443)),
    ],
)  # fmt: skip
def test_ports_come_from_where_programs_are_told_them(
    name: str, text: str, files: dict[str, str], expected: tuple[str, int]
) -> None:
    assert [(one.address, one.port) for one in facts_of(service(name, text), files).listeners] == [expected]


@pytest.mark.parametrize("variable", ["DB_PORT=5432", "SMTP_PORT=25", "PORT=http", "PORT=700000"])
def test_ports_of_others_and_nonsense_are_no_ports(variable: str) -> None:
    assert facts_of(service("a", unit("/srv/a", f"Environment={variable}"))).listeners == []


# --- web servers ---------------------------------------------------------------------------------------------

NGINX = service("nginx", unit("/usr/sbin/nginx", user=""))
MAIN = "user www-data;\nhttp {\n include /etc/nginx/mime.types;\n include sites-enabled/*;\n}\n"


def test_an_nginx_that_serves_files() -> None:
    facts = facts_of(
        NGINX,
        {
            "/etc/nginx/nginx.conf": MAIN,
            "/etc/nginx/sites-enabled/site": "server {\n listen 80 default_server; # all\n listen [::]:80;\n"
            " server_name old.example _;\n root '/var/www/site';\n location / { try_files $uri ${x}/ =404; }\n}\n",
            "/var/www/site/index.html": "<h1>",
            "/var/www/site/a/b.css": "x" * 10,
        },
    )
    [site] = facts.static_sites
    assert (site.root, site.server_names, site.port, site.files, site.size_bytes, site.dynamic) == (
        "/var/www/site", ["old.example"], 80, 2, 14, [],
    )  # fmt: skip
    assert [(one.address, one.port, one.http) for one in facts.listeners] == [("*", 80, True)]
    assert [(one.application, one.root) for one in facts.runtimes] == [("static", "/var/www/site")]


@pytest.mark.parametrize(
    "line",
    ["location /api { proxy_pass http://127.0.0.1:8080; }", "location ~ php { fastcgi_pass unix:/run/php.sock; }",
     "auth_basic \"closed\";", "location /img { alias /srv/images; }", "if ($x) { rewrite ^ /y; }"],
)  # fmt: skip
def test_an_nginx_that_does_more_says_what(line: str) -> None:
    facts = facts_of(
        NGINX,
        {
            "/etc/nginx/nginx.conf": f"http {{ server {{ listen 8000;\n root /var/www;\n {line}\n}} }}\n",
            "/var/www/a": "",
        },
    )
    [site] = facts.static_sites
    assert site.dynamic
    assert "/etc/nginx/nginx.conf:3" in site.dynamic[0]
    assert facts.runtimes[0].application == ""


def test_programs_among_the_files_are_no_static_site() -> None:
    facts = facts_of(
        NGINX, {"/etc/nginx/nginx.conf": "http { server { root /var/www; } }", "/var/www/index.php": "<?php"}
    )
    assert facts.static_sites[0].dynamic == ["/var/www/index.php is a program, not a file to serve"]


def test_nginx_includes_that_loop_end() -> None:
    facts = facts_of(NGINX, {"/etc/nginx/nginx.conf": "http { include nginx.conf; include /etc/nginx/*; }"})
    assert any("includes too many" in note for note in facts.notes)


def test_an_apache_with_its_virtual_host() -> None:
    facts = facts_of(
        service("apache2", unit("/usr/sbin/apachectl start", "Type=forking", user="")),
        {
            "/etc/apache2/apache2.conf": "IncludeOptional sites-enabled/*.conf\nInclude ports.conf\n",
            "/etc/apache2/ports.conf": "Listen 8088\n<IfModule ssl_module>\n  Listen 443\n</IfModule>\n",
            "/etc/apache2/sites-enabled/000.conf": "<VirtualHost *:8088>\n DocumentRoot /var/www/html\n ServerName a.example\n</VirtualHost>\n",
            "/var/www/html/index.html": "x",
        },
    )
    assert [(one.port, one.http) for one in facts.listeners] == [(8088, True)]
    [site] = facts.static_sites
    assert (site.root, site.server_names, site.dynamic) == ("/var/www/html", ["a.example"], [])


def test_nginx_tokens_and_listens() -> None:
    assert [word for word, _ in tokenize('a \'b c\' "d\\"e"; # x\n{ f${g}h }')] == [
        "a",
        "b c",
        'd\\"e',
        ";",
        "{",
        "f${g}h",
        "}",
    ]
    assert parse_listen("8080") == ("*", 8080)
    assert parse_listen("127.0.0.1:81") == ("127.0.0.1", 81)
    assert parse_listen("[::1]:82") == ("[::1]", 82)
    assert parse_listen("unix:/run/x.sock") is None
    assert parse_listen("99999999") is None


# --- runtimes ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "language", "program"),
    [
        ("/usr/bin/java -Xmx1g -jar /srv/app/app.jar --x", "java", "java"),
        ("/usr/bin/env FOO=1 /usr/bin/ruby /srv/app/a.rb", "ruby", "ruby"),
        ("/bin/sh -c 'cd /srv && exec /usr/bin/dotnet /srv/app/a.dll'", "dotnet", "dotnet"),
        ("/srv/app/native", "native", "native"),
        ("/srv/app/gobinary", "go", "gobinary"),
        ("/srv/app/script.sh", "shell", "script.sh"),
        ("/srv/app/missing", "", "missing"),
        ("/usr/sbin/php-fpm8.2 --nodaemonize", "php", "php-fpm8.2"),
    ],
)
def test_languages_by_interpreter_shebang_and_binary(command: str, language: str, program: str) -> None:
    facts = facts_of(
        service("a", unit(command)),
        {
            "/srv/app/native": ELF_X86_64,
            "/srv/app/gobinary": ELF_X86_64 + b"\xff Go buildinf:",
            "/srv/app/script.sh": "#!/bin/bash\n",
        },
    )
    [runtime] = facts.runtimes
    assert (runtime.language, runtime.program) == (language, program)


FLASKY = "from flask import Flask\nimport helper\napp = Flask(__name__)\n"


@pytest.mark.parametrize(
    ("command", "entry", "application"),
    [
        ("/srv/app/venv/bin/gunicorn -b 0.0.0.0:8000 web:app", "web:app", "wsgi"),
        ("/usr/bin/python3 -m gunicorn --bind :8000 web:app", "web:app", "wsgi"),
        ("/usr/bin/python3 web.py --port 8000", "web:app", "wsgi"),
        ("/usr/bin/python3 -u /srv/app/web.py -p 8000", "web:app", "wsgi"),
        ("/srv/app/web.py --port 8000", "web:app", "wsgi"),
        ("/usr/bin/uvicorn --port 8000 web:app", "web:app", "asgi"),
    ],
)
def test_python_applications_are_found_however_they_are_started(
    command: str, entry: str, application: str
) -> None:
    facts = facts_of(
        service("web", unit(command, "WorkingDirectory=/srv/app")),
        {
            "/srv/app/web.py": "#!/usr/bin/env python3\n" + FLASKY,
            "/srv/app/helper.py": "import json, bz2\n",
            "/srv/app/venv/bin/gunicorn": "#!/srv/app/venv/bin/python3\n",
            "/srv/app/venv/lib/python3.11/site-packages/flask/__init__.py": "import markupsafe\n",
            "/srv/app/venv/lib/python3.11/site-packages/markupsafe/__init__.py": "import optional_speedup\n",
            "/srv/app/venv/lib/python3.11/site-packages/markupsafe/_speed.cpython-311.so": b"\x7fELF",
        },
    )
    [runtime] = facts.runtimes
    assert (runtime.language, runtime.entry_point, runtime.application, runtime.framework) == (
        "python", entry, application, "Flask",
    )  # fmt: skip
    assert runtime.imports == ["bz2", "flask", "json"]
    assert (runtime.libraries, runtime.unresolved) == (["flask", "markupsafe"], [])
    assert runtime.native_modules == [
        "/srv/app/venv/lib/python3.11/site-packages/markupsafe/_speed.cpython-311.so"
    ]
    assert [(one.port, one.http) for one in facts.listeners] == [(8000, True)]


def test_what_python_code_does_is_found_with_its_line() -> None:
    facts = facts_of(
        service("web", unit("/usr/bin/python3 /srv/app/web.py", "Environment=PORT=8123")),
        {
            "/srv/app/web.py": "import os, subprocess, threading, sqlite3\n"
            "from wsgiref.simple_server import make_server\n"
            "def application(environ, start_response): ...\n"
            "open('a', 'w')\nopen('b')\nsubprocess.run(['x'])\nthreading.Thread()\nsqlite3.connect('x')\n"
            "eval('1')\nos.makedirs('x')\n'a'.replace('b', 'c')\nopen('c', mode)\n"
            "make_server('', int(os.environ.get('PORT', '80')), application)\n",
            "/srv/app/broken.py": "print 'two'\n",
        },
    )
    [runtime] = facts.runtimes
    assert [one.line for one in runtime.file_writes] == [4, 8, 10, 12]
    assert [one.line for one in runtime.threads_or_processes] == [6, 7]
    assert [one.line for one in runtime.dynamic] == [9]
    assert runtime.problems == ["/srv/app/broken.py is not understood: Python 2, or damaged"]
    assert [(one.port, str(one.evidence[0])) for one in facts.listeners] == [
        (8123, "/etc/systemd/system/web.service")
    ]


@pytest.mark.parametrize("text", ["(" * 100_000, "-" * 200_000 + "1", "x" + ".y" * 100_000, "\0", "'\\d'"])
def test_python_that_is_made_to_exhaust_the_parser_is_survived(text: str) -> None:
    module = parse_source(text)
    assert (module is not None) == (text == "'\\d'")


def test_node_applications() -> None:
    facts = facts_of(
        service("api", unit("/usr/bin/node server.js", "WorkingDirectory=/srv/api", "Environment=PORT=3100")),
        {
            "/srv/api/server.js": "const express = require('express');\nconst fs = require('node:fs');\n"
            "fs.writeFileSync('x', 'y');\nexpress().listen(process.env.PORT || 3000);\n",
            "/srv/api/node_modules/express/index.js": "require('net')",
            "/srv/api/node_modules/fast/build/fast.node": b"\x7fELF",
        },
    )
    [runtime] = facts.runtimes
    assert (runtime.language, runtime.framework, runtime.imports) == ("node", "express", ["express", "fs"])
    assert runtime.native_modules == ["/srv/api/node_modules/fast/build/fast.node"]
    assert [one.line for one in runtime.file_writes] == [3]
    assert [(one.port) for one in facts.listeners] == [3100]


def test_a_fetch_handler_is_known() -> None:
    facts = facts_of(
        service("edge", unit("/usr/bin/node /srv/edge/main.js --port 8000")),
        {"/srv/edge/main.js": "addEventListener('fetch', (event) => event.respondWith(new Response('x')));\n"},
    )
    assert facts.runtimes[0].application == "fetch"


# --- secrets -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "DB_PASSWORD",
        "password",
        "apiToken",
        "AWS_SECRET_ACCESS_KEY",
        "api-key",
        "DATABASE_URL",
        "client_secret",
        "MYSQL_PWD",
    ],
)
def test_names_of_secrets(name: str) -> None:
    assert is_secret_name(name)


@pytest.mark.parametrize(
    "name", ["PASSWORD_FILE", "TOKEN_TTL", "PORT", "passenger", "compass", "AUTHENTICATION", "monkey"]
)
def test_names_that_only_look_like_it(name: str) -> None:
    assert not is_secret_name(name)


def test_values_are_withheld_and_commands_redacted() -> None:
    assert withhold("TOKEN", "x") is None
    assert withhold("X", "-----BEGIN RSA PRIVATE KEY-----") is None
    assert withhold("URL", "postgres://me:pw@db/x") == "postgres://me:***@db/x"
    assert withhold("PORT", "80") == "80"
    assert redact("/bin/a --db-password hunter2 --port 80 -u me:pw API_KEY=k x://u:p@h") == (
        "/bin/a --db-password *** --port 80 -u me:*** API_KEY=*** x://u:***@h"
    )
    assert redact("mysqldump -uroot -phunter2 shop") == "mysqldump -uroot -p*** shop"


def test_secrets_in_texts() -> None:
    found = scan_text(
        "# password=commented\npassword = hunter2\ntoken: ''\npassword=$OTHER\nurl = amqp://u:p@h/\n"
        "-----BEGIN OPENSSH PRIVATE KEY-----\nkey AKIAABCDEFGHIJKLMNOP\npassword = getpass(x)\nport = 1\n"
    )
    assert found == [
        ("password", "variable", 2), ("url", "password in a URL", 5), ("private key", "private key", 6),
        ("AWS access key", "key", 7),
    ]  # fmt: skip


def test_no_secret_value_is_anywhere_in_the_document() -> None:
    from vmkit.migrate.facts import encode_facts

    facts = facts_of(
        service(
            "a",
            unit(
                "/srv/a --password hunter2-option", "Environment=TOKEN=hunter2-unit", "EnvironmentFile=/etc/a.env"
            ),
        ),
        {
            "/etc/a.env": F("SECRET_KEY=hunter2-file\nURL=https://u:hunter2-url@h/\n", mode=0o600),
            "/etc/cron.d/a": "* * * * * root curl -u me:hunter2-cron http://x\n",
            "/opt/app/settings.py": "PASSWORD = 'hunter2-code'\n",
            "/root/.pgpass": "h:5432:d:u:hunter2-pgpass\n",
            "/etc/rc.local": "#!/bin/sh\nstart --api-key=hunter2-rc\n",
        },
    )
    document = encode_facts(facts)
    assert b"hunter2" not in document
    assert [(one.name, str(one.evidence[0])) for one in facts.secrets] == [
        ("SECRET_KEY", "/etc/a.env:1"),
        ("URL", "/etc/a.env:2"),
        ("TOKEN", "/etc/systemd/system/a.service"),
        ("PASSWORD", "/opt/app/settings.py:1"),
        (".pgpass", "/root/.pgpass"),
    ]
    assert facts.secrets[0].services == ["a.service"]


# --- accounts, mounts, data ----------------------------------------------------------------------------------


def test_users_and_groups_keep_their_ids() -> None:
    facts = facts_of(
        {"/etc/passwd": DEBIAN["/etc/passwd"] + "alice:x:1000:1000::/home/alice:/bin/bash\nbad:line\nx:y:z:0:::\n"}
    )  # type: ignore[operator]
    assert [(one.name, one.uid, one.gid, one.login) for one in facts.users] == [
        ("root", 0, 0, True), ("www-data", 33, 33, False), ("app", 998, 997, False), ("alice", 1000, 1000, True),
    ]  # fmt: skip
    assert [(one.name, one.gid, one.members) for one in facts.groups][2] == ("app", 997, ["www-data"])


def test_mounts_and_data_directories() -> None:
    facts = facts_of(
        service("shop", unit("/srv/shop/run", "StateDirectory=shop", "WorkingDirectory=/data/shop")),
        service("mariadb", unit("/usr/sbin/mariadbd")),
        {
            "/etc/fstab": "LABEL=root / ext4\nLABEL=data /data xfs\nnas:/x /mnt/nas nfs4 ro\ntmpfs /t tmpfs\n",
            "/etc/systemd/system/mnt-ceph.mount": "[Mount]\nWhat=mon:/\nWhere=/mnt/ceph\nType=ceph\n",
            "/var/lib/shop/db": F("x" * 100, size=5 * 2**30),
            "/var/lib/mysql/ibdata1": "y" * 50,
            "/data/shop/file": "z",
        },
    )
    assert [(one.target, one.network) for one in facts.mounts] == [
        ("/", False), ("/data", False), ("/mnt/nas", True), ("/t", False), ("/mnt/ceph", True),
    ]  # fmt: skip
    assert [(one.path, one.services, one.size_bytes, one.allocated_bytes) for one in facts.data_directories] == [
        ("/data", [], 1, 1),
        ("/mnt/ceph", [], 0, 0),
        ("/mnt/nas", [], 0, 0),
        ("/var/lib/mysql", ["mariadb.service"], 50, 50),
        ("/var/lib/shop", ["shop.service"], 5 * 2**30, 100),
    ]


def test_files_that_every_guest_grows_are_not_the_applications() -> None:
    facts = facts_of(
        {
            "/etc/machine-id": "x", "/etc/ssh/ssh_host_rsa_key": "x", "/var/log/syslog": "x", "/var/cache/a": "x",
            "/home/a/.bashrc": "x", "/opt/app/__pycache__/a.pyc": "x", "/srv/site/index.html": "x",
            "/opt/app/venv/lib/python3.11/site-packages/a.py": "x", "/proc/1/mem": "x",
        }
    )  # fmt: skip
    assert [
        one.path
        for one in facts.unowned_files
        if one.path.startswith(("/srv", "/opt", "/proc", "/var/log", "/etc/ssh"))
    ] == ["/srv/site/index.html"]


# --- the document --------------------------------------------------------------------------------------------


def test_names_with_terminal_codes_are_escaped_everywhere() -> None:
    facts = facts_of(
        {"/opt/evil\x1b]0;title\x07\nname": "x", "/etc/hostname": "a\x1b[31mb\n", "/opt/\udcff": "x"},
        service("x\x1b[2J", unit("/srv/x")),
    )
    from vmkit.migrate.facts import encode_facts

    document = encode_facts(facts)
    assert b"\x1b" not in document
    assert b"\\u001b" not in document
    assert "/opt/evil\\x1b]0;title\\x07\\nname" in [one.path for one in facts.unowned_files]
    assert facts.os is not None
    assert facts.os.hostname == "a\\x1b[31mb"


def test_the_same_guest_gives_the_same_document() -> None:
    from vmkit.migrate.facts import decode_facts, encode_facts

    parts = (
        service("shop", unit("/srv/shop/run --port 80", "StateDirectory=shop")),
        {"/opt/a": "1", "/opt/b": "2"},
    )
    first, second = facts_of(*parts), facts_of(*reversed(parts))
    assert encode_facts(first) == encode_facts(second)
    assert decode_facts(encode_facts(first)) == first
    assert guest(*parts)

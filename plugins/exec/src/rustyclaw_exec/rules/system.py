"""Programs that change the machine: power, kernel, disks, accounts, services."""

from __future__ import annotations

import re
from collections.abc import Iterator

from rustyclaw_exec.call import Call
from rustyclaw_exec.options import Syntax, options_of
from rustyclaw_exec.rules.catalog import (
    ACCOUNTS,
    DISK_TOOL,
    FIREWALL,
    GATEWAY,
    KERNEL,
    KILL_ALL,
    KILL_MANY,
    LOGS,
    MOUNT,
    PACKAGES,
    POWER,
    PRIVILEGE,
    SCHEDULE,
    SERVICE,
    SETTINGS,
    SETUID,
    START_SERVICE,
    TRACE,
)
from rustyclaw_exec.tables import Check, programs
from rustyclaw_exec.values import OPAQUE, PARENT, names
from rustyclaw_exec.verdict import Finding, Rule

#: What the gateway looks like to ``pkill -f``.
_GATEWAY = "rustyclaw gateway"
_INTERPRETER = "/usr/bin/python3"


def _always(rule: Rule) -> Check:
    def check(call: Call) -> Iterator[Finding]:
        if call.args not in (("--version",), ("--help",), ("-h",), ("-V",)):
            yield call.found(rule)

    return check


def _unless(rule: Rule, harmless: str, *, alone: bool = False) -> Check:
    """Allow only calls that begin with certain arguments, or ``alone`` with none."""
    wanted = names(harmless)

    def check(call: Call) -> Iterator[Finding]:
        verb = next((a for a in call.args if a in wanted or a[:1] != "-"), "")
        if verb not in wanted and not (alone and not call.args):
            yield call.found(rule)

    return check


def _if(rule: Rule, harmful: str) -> Check:
    """Refuse only calls with one of some arguments."""
    unwanted = names(harmful)

    def check(call: Call) -> Iterator[Finding]:
        if unwanted.intersection(call.args):
            yield call.found(rule)

    return check


# --- Processes ----------------------------------------------------------------


def _kill(call: Call) -> Iterator[Finding]:
    args = list(call.args)
    if args and re.fullmatch(r"-\w+", args[0]) and args[0] not in ("-1",):
        taken = 2 if args[0] in ("-s", "-n") else 1
        if args[0] in ("-l", "-L"):
            return
        args = args[taken:]
    elif args and args[0] == "-1" and len(args) > 1:
        args = args[1:]  # SIGHUP, if a process follows
    for pid in args:
        if pid in ("-1", "1", "-01", "01") or PARENT in pid:
            yield call.found(KILL_ALL)
    if "gateway" in call.tags:
        yield call.found(KILL_ALL)


def _kill_by_name(call: Call) -> Iterator[Finding]:
    syntax = Syntax(short="ugGPstUFn", long="signal euid uid parent group")
    arguments = [a for a in call.args if not re.fullmatch(r"-(?:\d+|[A-Z]+\d?)", a)]
    patterns = options_of(arguments, syntax).operands
    if not patterns and "-l" not in call.args:
        yield call.found(KILL_ALL)
    for pattern in patterns:
        if OPAQUE.search(pattern):
            yield call.found(KILL_MANY)
        elif _matches(call.name, pattern, _GATEWAY):
            yield call.found(KILL_ALL)
        elif _matches(call.name, pattern, _INTERPRETER):
            yield call.found(KILL_MANY)


def _matches(program: str, pattern: str, command: str) -> bool:
    """Return whether ``pkill`` or ``killall`` would hit a command line."""
    if program != "pkill":
        return pattern in re.split(r"[ /]", command)
    try:
        return len(pattern) > 60 or re.search(pattern, command) is not None
    except re.error:
        return True


def _fuser(call: Call) -> Iterator[Finding]:
    if any(re.match(r"-\w*k|--kill", a) for a in call.args):
        yield call.found(KILL_MANY)


def _trace(call: Call) -> Iterator[Finding]:
    """Judge tools that attach to a running process or start one to watch."""
    debugs = call.name in ("gdb", "lldb")
    long = "pid ex eval-command iex x command attach"
    syntax = Syntax("eoEpusSPbIaOX", long, stops=True, single_dash=debugs)
    options = options_of(call.args, syntax)
    operands = options.operands
    if call.name == "perf":
        options = options_of(operands[1:], syntax)
        operands = options.operands
    attaches = debugs and any(operand.isdecimal() for operand in operands[1:])
    if attaches or options.has("p", "pid", "attach"):
        yield call.found(TRACE)
    for script in options.values("ex", "eval-command", "iex"):
        if found := re.match(r"\s*(?:shell|!|python|pipe|call|attach)\s*(.*)", script):
            yield from call.shell(found[1])
            yield call.found(TRACE)
    if operands:
        yield from call.program(operands)


# --- Services, schedules, packages --------------------------------------------

_SERVICE_HARMLESS = names(
    "status show list-units list-unit-files list-timers list-dependencies is-active "
    "is-enabled is-failed cat help --version get-default list- sockets --failed "
    "list-jobs show-environment is-system-running"
)
_SERVICE_INSTALLS = names(
    "enable disable mask unmask link preset edit add-wants set-default reenable revert "
    "daemon-reexec import-environment set-environment bootstrap bootout load unload "
    "submit import /create -create"
)
_POWER_VERBS = names(
    "poweroff reboot halt suspend hibernate kexec emergency rescue isolate soft-reboot "
    "hybrid-sleep exit"
)


_GUARDS = names("firewalld ufw iptables nftables apparmor auditd fail2ban selinux")
_NAME_FIRST = names("service rc-service invoke-rc.d update-rc.d chkconfig")


def _service(call: Call) -> Iterator[Finding]:
    words = [a for a in call.args if not a.startswith("-")]
    if call.name in _NAME_FIRST:  # `service nginx status`
        words = words[1:2] + words[:1]
    verb = "".join(words[:1])
    subjects = {word.removesuffix(".service") for word in words[1:]}
    if verb in _POWER_VERBS:
        yield call.found(POWER)
    elif verb in _SERVICE_INSTALLS or call.args[:1] in (("/create",), ("-create",)):
        yield call.found(START_SERVICE)
    elif not verb or verb in _SERVICE_HARMLESS:
        return
    elif _GUARDS & subjects:
        yield call.found(FIREWALL)
    elif any("rustyclaw" in subject for subject in subjects):
        yield call.found(GATEWAY)
    else:
        yield call.found(SERVICE)


def _parted(call: Call) -> Iterator[Finding]:
    words = [a for a in call.args if not a.startswith("-") and "/" not in a]
    if not words and "-l" in call.args:
        return
    if not words or not set(words) <= {"print", "free", "unit", "MiB", "GiB", "s"}:
        yield call.found(DISK_TOOL)


def _crontab(call: Call) -> Iterator[Finding]:
    options = options_of(call.args, Syntax(short="u"))
    if (
        not options.has("l", "V", "version")
        or options.operands
        or options.has("r", "e")
    ):
        yield call.found(SCHEDULE)


_PACKAGE_VERBS = names(
    "install remove purge autoremove upgrade dist-upgrade full-upgrade reinstall "
    "build-dep add del delete erase downgrade group-install -S -R -U -Rs -Syu -i -r -P "
    "-e -Uvh -ivh uninstall --install --remove --purge --unpack --force-all "
    "update-alternatives cask link unlink tap rm mark- remove swap"
)


def _packages(call: Call) -> Iterator[Finding]:
    if _PACKAGE_VERBS.intersection(call.args[:6]):
        yield call.found(PACKAGES)
    for argument in call.args:
        key, _, value = argument.partition("=")
        if "::" in key and ("Invoke" in key or "Run" in key or "Options" in key):
            yield from call.option([value])


# --- Settings -----------------------------------------------------------------


def _sysctl(call: Call) -> Iterator[Finding]:
    options = options_of(call.args, Syntax())
    if options.has("w", "p", "write", "load", "system") or any(
        "=" in operand for operand in options.operands
    ):
        yield call.found(KERNEL)


def _mount(call: Call) -> Iterator[Finding]:
    if call.args and call.args not in (("-l",), ("--version",), ("-V",)):
        yield call.found(MOUNT)


_NETWORK_VERBS = names(
    "add del delete set flush replace change append up down attach detach exec off"
)


def _network(call: Call) -> Iterator[Finding]:
    if _NETWORK_VERBS.intersection(call.args):
        yield call.found(FIREWALL)


def _iptables(call: Call) -> Iterator[Finding]:
    options = options_of(call.args, Syntax(short="tpsdjimcwADIRNXPEZFM", long="table"))
    if (
        not options.has("L", "S", "C", "list", "list-rules", "check", "V", "h")
        or options.has(*"ADIRNXPEZF")
        or options.has("flush", "policy", "append")
    ):
        yield call.found(FIREWALL)


def _date(call: Call) -> Iterator[Finding]:
    if any(re.match(r"-\w*s|--set?$|--set=", a) for a in call.args if a[:1] != "+"):
        yield call.found(SETTINGS)


def _journal(call: Call) -> Iterator[Finding]:
    if any(a.startswith(("--vac", "--rot", "--flush")) for a in call.args):
        yield call.found(LOGS)


def _history(call: Call) -> Iterator[Finding]:
    if any(re.match(r"-\w*[cdwar]", a) for a in call.args):
        yield call.found(LOGS)


def _init(call: Call) -> Iterator[Finding]:
    if call.args:
        yield call.found(POWER)


PROGRAMS = programs(
    {
        "shutdown reboot halt poweroff kexec pm-suspend": _always(POWER),
        "init telinit": _init,
        "insmod rmmod depmod": _always(KERNEL),
        "kmod": _unless(KERNEL, "list"),
        "modprobe": _unless(KERNEL, "-n --dry-run --show-depends -c --showconfig"),
        "sysctl": _sysctl,
        "setenforce aa-teardown apparmor_parser": _always(KERNEL),
        "defaults": _unless(SETTINGS, "read read-type find domains"),
        "kill": _kill,
        "pkill killall skill": _kill_by_name,
        "killall5": _always(KILL_ALL),
        "fuser": _fuser,
        "gdb strace ltrace lldb perf": _trace,
        "reptyr dlv py-spy gcore": _always(TRACE),
        # --- disks
        "mkfs mke2fs mkswap wipefs blkdiscard mkdosfs badblocks": _always(DISK_TOOL),
        "cfdisk gdisk cgdisk fixparts "
        "cryptsetup mdadm dmsetup lvremove vgremove pvremove pvcreate vgcreate "
        "lvcreate zpool hdparm nvme tune2fs resize2fs e2fsck fsck debugfs "
        "xfs_repair partprobe diskutil losetup tgtadm": _unless(
            DISK_TOOL, "list status info -I -l ls --detail"
        ),
        "fdisk sfdisk sgdisk": _unless(DISK_TOOL, "-l --list -p --print"),
        "parted": _parted,
        # --- privilege and accounts
        "sudo su doas pkexec runuser sudoedit gosu su-exec sg newgrp machinectl run0 "
        "dzdo calife super please ksu": _always(PRIVILEGE),
        "setcap chattr": _always(SETUID),
        "chpasswd useradd userdel usermod adduser deluser groupadd groupdel groupmod "
        "addgroup delgroup gpasswd vipw vigr visudo chsh chfn newusers pwconv grpconv "
        "dscl sysadminctl faillock": _always(ACCOUNTS),
        "passwd": _unless(ACCOUNTS, "-S --status"),
        "chage": _unless(ACCOUNTS, "-l --list"),
        # --- mounts, network, settings
        "mount": _mount,
        "umount swapoff pivot_root fusermount": _always(MOUNT),
        "swapon": _unless(MOUNT, "-s --show --summary"),
        "iptables ip6tables iptables-legacy iptables-nft ebtables": _iptables,
        "iptables-restore ip6tables-restore iptables-apply": _always(FIREWALL),
        "nft": _unless(FIREWALL, "list"),
        "ufw": _unless(FIREWALL, "status version show"),
        "pfctl": _unless(FIREWALL, "-s -sr -sa"),
        "firewall-cmd": _unless(
            FIREWALL, "--state --list-all --list-ports --list-services --get-zones"
        ),
        "ip ifconfig route tc nmcli iwconfig": _network,
        "hostnamectl timedatectl localectl": _unless(SETTINGS, "status", alone=True),
        "date": _date,
        "hwclock": _unless(SETTINGS, "-r --show", alone=True),
        "efibootmgr grub-install update-grub grub-mkconfig bcdedit nvram csrutil spctl "
        "auditctl dpkg-divert": _always(SETTINGS),
        # --- services, schedules, packages, logs
        "systemctl service rc-service launchctl initctl sv supervisorctl rc-update "
        "chkconfig update-rc.d loginctl schtasks invoke-rc.d": _service,
        "crontab": _crontab,
        "at batch fcron anacron": _always(SCHEDULE),
        "apt apt-get aptitude dpkg yum dnf zypper pacman apk rpm snap flatpak brew "
        "port emerge nix-env xbps-install choco winget": _packages,
        "journalctl": _journal,
        "history": _history,
        "dmesg": _if(LOGS, "-C -c --clear --read-clear"),
        "logrotate wevtutil": _always(LOGS),
    }
)

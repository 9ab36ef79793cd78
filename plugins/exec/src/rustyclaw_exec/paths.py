"""Says what a path is to its owner: the agent's own, a system file, a secret.

Everything here is text: nothing is looked up on the disk, so that a judgement does
not depend on when it is made.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from rustyclaw_exec.values import BELOW, CLASS, GLOB, ONE, OPAQUE, STAR, names

Place = Literal[
    "inside",  # below the workspace
    "workspace",  # the workspace itself
    "above",  # a folder that holds the workspace
    "state",  # the gateway's own files
    "root",
    "home",  # a person's home, or the folder of all homes
    "user",  # below a home
    "temp",
    "system",
    "elsewhere",
    "device",
    "stream",  # /dev/null and its like
    "socket",  # bash's /dev/tcp
    "unknown",
]

_STREAMS = re.compile(
    r"/dev/(?:null|zero|full|u?random|tty|std(?:in|out|err)|ptmx|pts(?:/.*)?|fd(?:/.*)?)"
)
#: Folders that anybody may write to.
TEMPORARY = ("/tmp", "/var/tmp", "/dev/shm", "/private/tmp")  # noqa: S108  only names
_HOMES = ("/home", "/Users")
_ELSEWHERE = ("/usr/local", "/opt", "/srv", "/mnt", "/media", "/data", "/Volumes")
_SYSTEM = names(
    "/Applications /Library /System /bin /boot /dev /etc /lib /lib32 /lib64 /libx32 "
    "/nix /private /proc /run /sbin /snap /sys /usr /var"
)
#: Other names of the root and, for the process itself, of its folder.
_PROCESS_FOLDER = re.compile(
    r"/+proc/(?:(?:thread-)?self|[^/]+(?=/+root))/+(root|cwd)(?=/|$)"
)

_SECRET_IN_HOME = re.compile(
    r"\.(?:ssh|gnupg|aws|azure|kube|password-store|mozilla|thunderbird|electrum|bitcoin"
    r"|ethereum|rustyclaw|openclaw|clawdbot|claude|codex|terraform\.d)(?:/|$)"
    r"|\.config/(?:gcloud|gh|hub|op|google-chrome|chromium|BraveSoftware|rclone|solana"
    r"|anthropic)(?:/|$)"
    r"|\.docker/config\.json|\.local/share/keyrings|\.cargo/credentials|\.m2/settings"
    r"|\.gem/credentials|\.gradle/gradle\.properties|\.composer/auth\.json"
    r"|\.(?:netrc|npmrc|pypirc|git-credentials|pgpass|my\.cnf|s3cfg|boto|vault-token)$"
    r"|\.\w+_history$|\.viminfo$|\.lesshst$|\.claude\.json$"
    r"|Library/(?:Keychains|Cookies|Application Support/Google)(?:/|$)"
)
_SECRET_SYSTEM = re.compile(
    r"/etc/(?:g?shadow|sudoers|master\.passwd|ssl/private|ssh/ssh_host_\w+_key$|krb5\.keytab"
    r"|kubernetes|wireguard|NetworkManager/system-connections|ipsec\.secrets|security/opasswd)"
    r"|/(?:var/)?run/secrets(?:/|$)|/var/backups/g?shadow"
    r"|/proc/[^/]+/(?:task/[^/]+/)?(?:environ|mem|maps|cwd|fd)(?:/|$)"
    r"|/proc/(?:kcore|kmem)|/dev/k?mem|/Library/Keychains"
)
_SECRET_NAME = re.compile(
    r"id_(?:rsa|dsa|ecdsa|ed25519)(?:_sk)?|\.netrc|\.pgpass|\.git-credentials|\.pypirc"
    r"|\.htpasswd|\.vault-token|[^/]*\.(?:kdbx|keystore|jks|ppk|p12|pfx)"
    r"|\.env(?:\.(?!example|sample|template|dist|defaults|test)\w+)*"
)
#: One concrete secret of each kind, for patterns to be held against.
_SECRET_EXAMPLES = names(
    "{home}/.ssh {home}/.ssh/id_rsa {home}/.aws {home}/.aws/credentials {home}/.gnupg "
    "{home}/.kube/config {home}/.netrc {home}/.git-credentials {home}/.bash_history "
    "{home}/.docker/config.json {home}/.npmrc {home}/.config/gh/hosts.yml /etc/shadow "
    "/etc/gshadow /etc/sudoers /proc/self/environ /proc/1/environ /run/secrets/token "
    "/etc/ssh/ssh_host_rsa_key {state} {state}/config.yaml"
)

_STARTUP_IN_HOME = re.compile(
    r"\.(?:bash(?:rc|_profile|_login|_logout|_aliases)|profile|z(?:shrc|shenv|profile|login"
    r"|logout)|kshrc|t?cshrc|login|xinitrc|xprofile|xsession(?:rc)?|pam_environment"
    r"|gitconfig|npmrc|yarnrc|condarc|inputrc|vimrc|emacs|tmux\.conf|screenrc|gdbinit"
    r"|psqlrc|irbrc|Rprofile|pythonrc\.py|forward|procmailrc|curlrc|wgetrc|mailcap)$"
    r"|\.(?:ssh|vim|emacs\.d|oh-my-zsh)(?:/|$)"
    r"|\.config/(?:autostart|systemd|fish|git|environment\.d|nvim|pip|cron)(?:/|$)"
    r"|\.local/share/systemd(?:/|$)|\.pip/|Library/Launch(?:Agents|Daemons)(?:/|$)"
)
_STARTUP_SYSTEM = re.compile(
    r"/etc/(?:cron|init|rc|profile|bash|zsh|environment|ld\.so|systemd|xdg/autostart|pam"
    r"|passwd|group|g?shadow|sudoers|ssh|inetd|xinetd|inittab|update-motd|apt/apt\.conf)"
    r"|/var/spool/(?:cron|at)|/(?:usr/)?lib/systemd|/Library/Launch"
)
_STARTUP_NAME = re.compile(r"[^/]*\.pth|(?:site|user)customize\.py")
_CLASS = re.compile(rf"{CLASS}[^\]]*\]")
_GIT_HOOK = re.compile(r"(?:^|/)\.git/(?:hooks(?:/|$)|config$)")


@dataclass(frozen=True, slots=True)
class Target:
    """A path, made absolute and free of ``..`` as far as it is known.

    :param path: May hold marks; empty if nothing is known about it.
    """

    path: str

    @property
    def known(self) -> str:
        """The folder or file up to the first part that is not known."""
        parts = []
        for part in self.path.split("/"):
            if OPAQUE.search(part) or GLOB.search(part):
                break
            parts.append(part)
        return "/".join(parts) or ("/" if self.path.startswith("/") else "")

    @property
    def exact(self) -> bool:
        """Whether no part of the path is a pattern or unknown."""
        return not (OPAQUE.search(self.path) or GLOB.search(self.path))

    @property
    def name(self) -> str:
        """The last part."""
        return self.path.rpartition("/")[2]

    @property
    def sweeps(self) -> bool:
        """Whether the last part is a pattern that fits nearly every name."""
        return bool(self.name) and not self.name.strip(f"{STAR}{ONE}{BELOW}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where things are on this machine; all of them absolute paths.

    :param home: Home of the user that runs the commands.
    :param workspace: The agent's folder.
    :param state: The gateway's folder.
    """

    home: str
    workspace: str
    state: str

    def locate(self, text: str, cwd: str) -> Target:
        """Return a path as the shell would see it from ``cwd``."""
        if text.startswith("~"):
            text = self.tilde(text)
        if inside := _PROCESS_FOLDER.match(text):
            text = (cwd if inside[1] == "cwd" else "") + "/" + text[inside.end() :]
        if not text.startswith("/"):
            if not cwd or not text or OPAQUE.match(text):
                return Target("" if not text.startswith(BELOW) else f"{cwd}/{text}")
            text = f"{cwd}/{text}"
        parts: list[str] = []
        for part in text.split("/"):
            if part == "..":
                parts = parts[:-1]
            elif part not in ("", "."):
                parts.append(part)
        return Target("/" + "/".join(parts))

    def tilde(self, text: str) -> str:
        """Replace a leading ``~`` or ``~name``."""
        name, slash, rest = text[1:].partition("/")
        if name in ("+", "-"):
            return f"{'.' if name == '+' else ''}{slash}{rest}"
        home = self.home
        if name:
            home = "/root" if name == "root" else f"/home/{name}"
        return home + slash + rest

    def place(self, target: Target) -> Place:
        """Say what stands at a path, or what the known part of it is."""
        path = target.known
        if not target.path:
            return "unknown"
        if target.path.startswith(("/dev/tcp/", "/dev/udp/")):
            return "socket"
        if _STREAMS.fullmatch(path):
            return "stream"
        if path == "/":
            return "root"
        if _within(path, self.workspace):
            return "workspace" if path == self.workspace else "inside"
        if path in (self.home, *_HOMES, "/root") or _parent(path) in _HOMES:
            return "home"
        if _within(self.workspace, path):
            return "above"
        if _within(path, self.state):
            return "state"
        if any(_within(path, home) for home in (self.home, "/root", *_HOMES)):
            return "user"
        return self._outer(path)

    def _outer(self, path: str) -> Place:
        if any(_within(path, t) and path != t for t in TEMPORARY):
            return "temp"
        if _within(path, "/dev") and path != "/dev":
            return "device"
        if any(_within(path, e) and path != e for e in _ELSEWHERE):
            return "elsewhere"
        if any(_within(path, s) for s in (*_SYSTEM, "/opt", "/srv", "/mnt", "/media")):
            return "system"
        return "elsewhere"

    def secret(self, target: Target) -> bool:
        """Return whether a path is, or may expand to, a credential."""
        if not target.path or target.path in (self.workspace, "/"):
            return False
        path = target.path
        if _SECRET_NAME.fullmatch(target.name) or _SECRET_SYSTEM.match(path):
            return True
        place = self.place(target)
        if place in ("inside", "workspace"):
            return False
        if place == "state":
            beside = _parent(path) == _parent(self.workspace)
            return not beside or target.name == "sessions"
        if any(_SECRET_IN_HOME.match(rest) for rest in self._below_homes(path)):
            return True
        if not GLOB.search(path):
            return False
        return any(
            _may_become(path, example.format(home=self.home, state=self.state))
            for example in _SECRET_EXAMPLES
        )

    def holds_secrets(self, target: Target) -> bool:
        """Return whether credentials lie somewhere below a folder."""
        path = target.known
        return self.place(target) in ("root", "home", "state") or path in (
            "/etc",
            "/var",
        )

    def startup(self, target: Target) -> bool:
        """Return whether something runs a file at this path by itself, later."""
        return bool(
            _STARTUP_NAME.fullmatch(target.name)
            or _STARTUP_SYSTEM.match(target.path)
            or any(_STARTUP_IN_HOME.match(r) for r in self._below_homes(target.path))
        )

    def git_hook(self, target: Target) -> bool:
        """Return whether git runs, or reads its settings from, this path."""
        return bool(_GIT_HOOK.search(target.path))

    def _below_homes(self, path: str) -> Iterator[str]:
        for home in (self.home, "/root"):
            if _within(path, home):
                yield path[len(home) + 1 :]
        for homes in _HOMES:
            if _within(path, homes):
                yield path[len(homes) + 1 :].partition("/")[2]


def _within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def _parent(path: str) -> str:
    return path.rpartition("/")[0]


def _may_become(pattern: str, path: str) -> bool:
    """Return whether a marked path fits a path, part by part."""
    patterns, parts = pattern.split("/"), path.split("/")
    return len(patterns) == len(parts) and all(map(_fits, patterns, parts))


def _fits(pattern: str, name: str) -> bool:
    """Match a name in linear steps back; classes count as any character."""
    if name.startswith(".") and pattern[:1] in (STAR, ONE, CLASS):
        return False  # patterns skip dot files
    pattern = _CLASS.sub(ONE, pattern)
    at = place = 0
    star = -1
    resume = 0
    while at < len(name):
        if place < len(pattern) and pattern[place] in (ONE, name[at]):
            at, place = at + 1, place + 1
        elif place < len(pattern) and pattern[place] == STAR:
            star, resume, place = place, at, place + 1
        elif star >= 0:
            resume += 1
            at, place = resume, star + 1
        else:
            return False
    return not pattern[place:].strip(STAR)

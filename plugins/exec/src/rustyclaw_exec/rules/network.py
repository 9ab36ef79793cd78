"""Programs that talk to other machines: what may be fetched, sent and listened to."""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Iterator

from rustyclaw_exec.call import Call
from rustyclaw_exec.options import Options, Syntax, options_of
from rustyclaw_exec.rules.catalog import (
    ADDRESS_LEAK,
    DYNAMIC_OPTION,
    EXFILTRATION,
    GATEWAY_PORT,
    LISTENER,
    METADATA,
    REMOTE_SHELL,
    TUNNEL,
    UPLOAD,
)
from rustyclaw_exec.tables import programs
from rustyclaw_exec.values import OPAQUE, OUTPUT, names, unmatched
from rustyclaw_exec.verdict import Finding

#: The port that the gateway's server listens on by default.
_GATEWAY_PORT = "18789"
_URL = re.compile(
    r"(?:[a-z][a-z0-9+.-]*:/+)?(?:[^/@]*@)?(\[[^\]]+\]|[^/:?#]+)(?::(\d+))?", re.I
)
_METADATA_NAMES = re.compile(
    r"metadata(?:\.(?:google\.internal|goog|azure\.\w+|tencentyun\.com|packet\.net))?"
    r"|instance-data(?:\.ec2\.internal)?|.*169\.254\.(?:169\.254|170\.2)(?:\.|$).*",
    re.I,
)
_METADATA_ADDRESSES = frozenset(
    {"100.100.100.200", "168.63.129.16", "192.0.0.192", "fd00:ec2::254", "fd20:ce::254"}
)
_LOCAL = re.compile(r"localhost|ip6-localhost|.*\.localhost|127\..*|::1", re.I)

FETCHERS = names("curl wget fetch aria2c http https xh lynx w3m links axel curlie")
SOCKETS = names("nc ncat netcat nc.openbsd nc.traditional socat telnet websocat ftp")
COPIERS = names("scp sftp rsync rclone lftp ncftpput aws gsutil gcloud azcopy mc s3cmd")
MAILERS = names("mail mailx sendmail mutt msmtp swaks s-nail")
RESOLVERS = names("dig nslookup host drill ping ping6 traceroute tracepath resolvectl")
SENDERS = names("croc wormhole transfer ffsend")
#: Everything that can carry data away.
NETWORKED = (
    FETCHERS
    | SOCKETS
    | COPIERS
    | MAILERS
    | RESOLVERS
    | SENDERS
    | names("ssh openssl gh glab slack httpie restic rsh kubectl")
)

_CURL = Syntax(
    "AbcCdDeEFHhKmoPQrTtuUwxXYyz",
    "data data-ascii data-binary data-raw data-urlencode form form-string upload-file "
    "json output header user user-agent request url config cookie cookie-jar proxy "
    "max-time connect-timeout retry referer range resolve connect-to interface cacert "
    "cert key write-out limit-rate dump-header unix-socket netrc-file output-dir",
)
_WGET = Syntax(
    "oaeiBtOTwQPUlADIXR",
    "output-document post-data post-file body-data body-file method header user "
    "password directory-prefix input-file execute tries timeout use-askpass user-agent",
)
_REMOTE_OPERAND = re.compile(r"(?:[\w.@-]+|\[[^\]]+\]):(?!//)|\w+://|\w+::")


def _address(host: str) -> str:
    """Return a host as a canonical address where it is one, else as it is."""
    host = host.strip("[]").rstrip(".").lower()
    try:
        if ":" in host:
            address = ipaddress.IPv6Address(host)
            return str(address.ipv4_mapped or address)
        return socket.inet_ntoa(socket.inet_aton(host))
    except (OSError, ValueError):
        return host


def _is_local(url: str) -> bool:
    found = _URL.match(url)
    host = _address(found[1]) if found else ""
    return _LOCAL.fullmatch(host) is not None


def _hosts(call: Call, urls: list[str]) -> Iterator[Finding]:
    """Judge where a call goes to."""
    for url in urls:
        found = _URL.match(url)
        host = _address(found[1]) if found else ""
        link_local = host.startswith("169.254.")
        if link_local or host in _METADATA_ADDRESSES or _METADATA_NAMES.fullmatch(host):
            yield call.found(METADATA)
        if OUTPUT in url or re.search(r"[{}\[\]]", host):
            yield call.found(ADDRESS_LEAK)


def _gateway_port(call: Call) -> Iterator[Finding]:
    for argument in call.args:
        if re.search(rf"(?:^|:){_GATEWAY_PORT}(?!\d)", argument):
            yield call.found(GATEWAY_PORT)


def _sending(call: Call) -> Iterator[Finding]:
    """Judge what any networked program may carry away in its input."""
    if "secret" in call.input.tags:
        yield call.found(EXFILTRATION)
    if "shell" in call.input.tags:
        yield call.found(REMOTE_SHELL)


# --- Fetching -----------------------------------------------------------------


def _fetch(call: Call) -> Iterator[Finding]:
    words = [unmatched(word) for word in call.args]
    options = options_of(words, _WGET if call.name == "wget" else _CURL)
    urls = options.operands + options.values("url")
    if call.name in ("http", "https", "xh"):
        urls = [u for u in urls if "://" in u or u.startswith(":") or "." in u]
    yield from _hosts(call, urls)
    yield from _hosts(call, [v.rpartition(":")[2] for v in options.values("resolve")])
    yield from _gateway_port(call)
    if not (urls and all(map(_is_local, urls))):
        yield from _uploads(call, options)
    if "secret" in call.tags:
        yield call.found(EXFILTRATION)
    for name in ("K", "config", "use-askpass", "e", "execute"):
        if (name not in ("e", "execute") or call.name == "wget") and options.has(name):
            yield call.found(DYNAMIC_OPTION)


def _uploads(call: Call, options: Options) -> Iterator[Finding]:
    bodies = options.values("d", "json") + options.starting("data", 4)
    bodies += [v for name, v in options.pairs if name.startswith("data-")]
    forms = options.values("F", "form", "form-string")
    files = options.values("T") if call.name != "wget" else []
    files += options.values("upload-file", "post-file", "body-file")
    posted = options.values("post-data", "body-data")
    if call.name in ("http", "https", "xh"):
        bodies += ["@" + o.rpartition("@")[2] for o in options.operands if "@" in o]
    named = [b for b in bodies if b.startswith("@") or re.match(r"\w+@", b)]
    named += [f for f in forms if re.search(r"=[@<]", f)]
    if files or named or any(OUTPUT in b for b in bodies + forms + posted):
        yield call.found(UPLOAD)
    if files or any(b in ("@-", "-") for b in bodies):
        yield from _sending(call)


# --- Sockets ------------------------------------------------------------------


def _netcat(call: Call) -> Iterator[Finding]:
    syntax = Syntax("eicgGIMmopPqsTtVwWXxO", "exec sh-exec lua-exec source-port wait")
    options = options_of(call.args, syntax)
    yield from _sending(call)
    yield from _gateway_port(call)
    if options.has("e", "c") or any("exec" in name for name, _ in options.pairs):
        yield call.found(REMOTE_SHELL)
    elif options.has("l", "L", "listen"):
        yield call.found(LISTENER)
    elif options.operands and not options.has("z"):
        yield call.found(UPLOAD)


def _socat(call: Call) -> Iterator[Finding]:
    yield from _sending(call)
    yield from _gateway_port(call)
    text = " ".join(call.args).upper()
    if re.search(r"\b(?:EXEC|SYSTEM|SHELL):", text):
        yield call.found(REMOTE_SHELL)
    elif "LISTEN" in text or "RECVFROM" in text:
        yield call.found(LISTENER)
    elif call.args and call.args[0] not in ("-V", "-h"):
        yield call.found(UPLOAD)


def _openssl(call: Call) -> Iterator[Finding]:
    if call.args[:1] == ("s_server",):
        yield call.found(LISTENER)
    elif call.args[:1] == ("s_client",):
        yield from _sending(call)
        if call.stdin is not None:
            yield call.found(UPLOAD)
    if any(a in ("-engine", "-provider") for a in call.args):
        yield call.found(DYNAMIC_OPTION)


def _talk(call: Call) -> Iterator[Finding]:
    """Judge programs that send what they read."""
    yield from _sending(call)
    yield from _gateway_port(call)
    if call.stdin is not None or call.name == "ssh-copy-id":
        yield call.found(UPLOAD)


# --- Copying and naming -------------------------------------------------------


def _copy_away(call: Call) -> Iterator[Finding]:
    syntax = Syntax("efiFJoPScTB", "rsh exclude include filter files-from port")
    options = options_of(call.args, syntax)
    yield from _sending(call)
    if call.stdin is not None and call.name in ("sftp", "lftp"):
        yield call.found(UPLOAD)
    if call.name in ("scp", "rsync", "sftp"):
        goal = options.operands[-1] if options.operands else ""
        sends = bool(_REMOTE_OPERAND.match(goal)) and len(options.operands) > 1
    else:
        sends = any(verb in call.args for verb in ("cp", "sync", "mv", "put", "copy"))
        sends = sends and any("://" in a or ":" in a for a in call.args[-1:])
    if sends:
        yield call.found(UPLOAD)


def _resolve(call: Call) -> Iterator[Finding]:
    for argument in call.args:
        found = OPAQUE.search(argument)
        if found and "." in argument[found.end() :]:
            yield call.found(ADDRESS_LEAK)


def _share(call: Call) -> Iterator[Finding]:
    yield from _sending(call)
    words = set(call.args[:3])
    if words & {"send", "create", "upload", "share"} or call.name in SENDERS:
        gist = {"gist", "snippet", "release"} & words
        if gist or call.name not in ("gh", "glab"):
            yield call.found(UPLOAD)


def _tunnel(call: Call) -> Iterator[Finding]:
    if call.args and call.args[0] not in ("--version", "version", "--help", "help"):
        yield call.found(TUNNEL)


PROGRAMS = programs(
    {
        " ".join(FETCHERS): _fetch,
        "nc ncat netcat nc.openbsd nc.traditional": _netcat,
        "socat": _socat,
        "openssl": _openssl,
        "telnet ftp websocat ssh-copy-id " + " ".join(MAILERS): _talk,
        " ".join(COPIERS): _copy_away,
        " ".join(RESOLVERS): _resolve,
        "gh glab " + " ".join(SENDERS): _share,
        "ngrok cloudflared localtunnel lt bore chisel frpc inlets sshuttle": _tunnel,
    }
)

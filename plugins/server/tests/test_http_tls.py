"""A certificate of one's own: https, wss, the command line, and what goes wrong."""

from __future__ import annotations

import json
import ssl
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import anyio.to_thread
import pytest
import websockets.asyncio.client
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from rustyclaw import ConfigError, ask_gateway
from rustyclaw_server.config import ServerConfig, TlsConfig
from rustyclaw_server.tls import tls_context

from .conftest import Running, serving
from .web import Web

PEM = serialization.Encoding.PEM


def make(
    folder: Path, name: str, issuer: tuple[x509.Certificate, Any] | None = None
) -> tuple[x509.Certificate, Any]:
    """Write a key and a certificate; self-signed without an issuer."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer[0].subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName("gateway.example")]),
            critical=False,
        )
        .add_extension(
            x509.BasicConstraints(ca=name == "root", path_length=None), critical=True
        )
        .sign(issuer[1] if issuer else key, hashes.SHA256())
    )
    form, clear = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (folder / f"{name}.key").write_bytes(key.private_bytes(PEM, form, clear))
    (folder / f"{name}.pem").write_bytes(certificate.public_bytes(PEM))
    return certificate, key


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tls")
    root = make(folder, "root")
    make(folder, "self")
    make(folder, "leaf", root)
    locked = serialization.BestAvailableEncryption(b"a passphrase")
    form = serialization.PrivateFormat.PKCS8
    data = root[1].private_bytes(PEM, form, locked)
    (folder / "locked.key").write_bytes(data)
    (folder / "text.pem").write_text("no certificate")
    return folder


@pytest.fixture
def settings(name: str, files: Path) -> Mapping[str, Any]:
    pair = {"cert_path": f"{files}/{name}.pem", "key_path": f"{files}/{name}.key"}
    return {"tls": pair}


def trusting(path: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(path))
    context.verify_flags = ssl.VERIFY_X509_PARTIAL_CHAIN
    context.check_hostname = False
    return context


@pytest.mark.parametrize("name", ["self", "leaf"])
async def test_https_wss_and_the_command_line(
    name: str, running: Running, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert running.url.startswith("https://127.0.0.1:")
    context = trusting(files / f"{name}.pem")
    async with Web(running.url, running.token, verify=context) as web:
        assert (await web.get("/health")).json()["version"]
    socket_url = running.url.replace("https", "wss")
    async with websockets.asyncio.client.connect(socket_url, ssl=context) as socket:
        assert json.loads(await socket.recv())["event"] == "connect.challenge"

    home = running.gateway.home
    facts = json.loads((home / "gateway.json").read_text())
    assert facts["certificate"] == str(files / f"{name}.pem")
    monkeypatch.setenv("RUSTYCLAW_HOME", str(home))
    answer = await anyio.to_thread.run_sync(partial(ask_gateway, "health"))
    assert answer["ok"] is True


@pytest.mark.parametrize("name", ["self"])
async def test_old_versions_and_plain_text_are_refused(
    running: Running, files: Path
) -> None:
    context = trusting(files / "self.pem")
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(Exception, match=r"(?i)ssl|tls|protocol|alert"):
        async with Web(running.url, verify=context) as web:
            await web.get("/health")


@pytest.mark.parametrize(
    ("cert", "key", "words"),
    [
        ("gone.pem", "self.key", "cert_path: cannot read .*gone.pem.*No such file"),
        ("self.pem", "gone.key", "key_path: cannot read .*gone.key.*No such file"),
        ("self.pem", "leaf.key", "the key is not the certificate's"),
        ("text.pem", "self.key", "no PEM files"),
        ("self.pem", "text.pem", "no PEM files"),
        ("root.pem", "locked.key", "write the key without a passphrase"),
        ("self.key", "self.pem", "no PEM files"),
        (".", "self.key", "cert_path: cannot read"),
    ],
)
def test_a_certificate_problem_is_one_clear_error(
    cert: str, key: str, words: str, files: Path
) -> None:
    config = TlsConfig(cert_path=files / cert, key_path=files / key)
    with pytest.raises(ConfigError, match=words):
        tls_context(config)


async def test_the_gateway_stops_with_that_error(
    tmp_path: Path, files: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pair = {"cert_path": f"{files}/gone.pem", "key_path": f"{files}/self.key"}
    with pytest.raises(AssertionError, match="the server has not started"):
        async with serving(tmp_path / "home", settings={"tls": pair}):
            pass
    errors = [r.getMessage() for r in caplog.records if r.levelname == "ERROR"]
    (error,) = errors
    assert error.startswith("the server does not start: hooks.server.tls.cert_path")


def test_a_relative_path_is_a_path() -> None:
    config = ServerConfig.model_validate({"tls": {"cert_path": "a", "key_path": "b"}})
    assert config.tls is not None
    assert config.tls.cert_path == Path("a")

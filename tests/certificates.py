"""Certificates for tests: one authority, and a short-lived certificate for each server and client it vouches for."""

import datetime as dt
import ipaddress
import json
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

LIFE = dt.timedelta(days=30)


@dataclass(frozen=True)
class Authority:
    """A folder of certificates, all signed by its `ca.pem`."""

    folder: Path

    @classmethod
    def make(cls, folder: Path) -> "Authority":
        """An authority in the folder; the one that is there already is used again."""
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        authority = cls(folder)
        if not authority.path("ca").exists():
            key = ec.generate_private_key(ec.SECP256R1())
            builder = _builder(_name("lockgate-test-ca"), key).issuer_name(_name("lockgate-test-ca"))
            builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            usage = x509.KeyUsage(
                digital_signature=True, key_cert_sign=True, crl_sign=True, content_commitment=False,
                key_encipherment=False, data_encipherment=False, key_agreement=False, encipher_only=False,
                decipher_only=False,
            )  # fmt: skip
            builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            authority._write("ca", builder.add_extension(usage, critical=True).sign(key, hashes.SHA256()), key)
        return authority

    def path(self, name: str) -> Path:
        """A certificate's file."""
        return self.folder / f"{name}.pem"

    def key(self, name: str) -> Path:
        """Its private key's file."""
        return self.folder / f"{name}.key"

    def issue(self, name: str, common: str, group: str = "", addresses: tuple[str, ...] = ()) -> None:
        """A certificate for a client (its user and group) or a server (its addresses and names)."""
        if self.path(name).exists():
            return
        key = ec.generate_private_key(ec.SECP256R1())
        authority = x509.load_pem_x509_certificate(self.path("ca").read_bytes())
        builder = _builder(_name(common, group), key).issuer_name(authority.subject)
        uses = [ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]
        builder = builder.add_extension(x509.ExtendedKeyUsage(uses), critical=False)
        identifier = authority.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        issuer = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)
        builder = builder.add_extension(issuer, critical=False)
        if addresses:
            names = x509.SubjectAlternativeName([_address(address) for address in addresses])
            builder = builder.add_extension(names, critical=False)
        signer = serialization.load_pem_private_key(self.key("ca").read_bytes(), None)
        assert isinstance(signer, ec.EllipticCurvePrivateKey)
        self._write(name, builder.sign(signer, hashes.SHA256()), key)

    def kubeconfig(self, name: str, server: str) -> Path:
        """A kubeconfig that signs in with a certificate issued before."""
        path = self.folder / f"{name}.kubeconfig"
        context = "lockgate-test"
        cluster = {"server": server, "certificate-authority": str(self.path("ca"))}
        user = {"client-certificate": str(self.path(name)), "client-key": str(self.key(name))}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": context,
            "clusters": [{"name": context, "cluster": cluster}],
            "users": [{"name": name, "user": user}],
            "contexts": [{"name": context, "context": {"cluster": context, "user": name}}],
        }
        path.write_text(json.dumps(config, indent=1))  # which is YAML too
        return path

    def _write(self, name: str, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
        pem = serialization.Encoding.PEM
        private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        self.key(name).touch(mode=0o600)
        self.key(name).write_bytes(private)
        self.path(name).write_bytes(certificate.public_bytes(pem))


def _builder(subject: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(minutes=5))
        .not_valid_after(now + LIFE)
    )


def _name(common: str, group: str = "") -> x509.Name:
    parts = [x509.NameAttribute(NameOID.COMMON_NAME, common)]
    return x509.Name([*([x509.NameAttribute(NameOID.ORGANIZATION_NAME, group)] if group else []), *parts])


def _address(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        return x509.DNSName(text)

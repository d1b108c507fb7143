"""Certificates for tests: one authority, and the certificates of the servers and clients that it signs."""

import json
from dataclasses import dataclass
from pathlib import Path

from trustme import CA, Blob


@dataclass(frozen=True)
class Authority:
    """A folder of certificates, all signed by its `ca.pem`."""

    folder: Path
    ca: CA

    @classmethod
    def make(cls, folder: Path) -> "Authority":
        """Create an authority in the folder, or read the one that is there."""
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        certificate, key = folder / "ca.pem", folder / "ca.key"
        if certificate.exists():
            return cls(folder, CA.from_pem(certificate.read_bytes(), key.read_bytes()))
        authority = cls(folder, CA())
        authority._write("ca", authority.ca.cert_pem, authority.ca.private_key_pem)
        return authority

    def path(self, name: str) -> Path:
        """Return the file of a certificate."""
        return self.folder / f"{name}.pem"

    def key(self, name: str) -> Path:
        """Return the file of its private key."""
        return self.folder / f"{name}.key"

    def issue(self, name: str, common: str, group: str = "", addresses: tuple[str, ...] = ()) -> None:
        """Issue a certificate for a client (its user and group) or a server (its addresses and names)."""
        if self.path(name).exists():
            return
        names = addresses or (name,)  # Go rejects the critical, empty list of names that trustme would write
        pair = self.ca.issue_cert(*names, common_name=common, organization_name=group or None)
        self._write(name, pair.cert_chain_pems[0], pair.private_key_pem)

    def kubeconfig(self, name: str, server: str) -> Path:
        """Write a kubeconfig that authenticates with a certificate issued before."""
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
        path.write_text(json.dumps(config, indent=1))  # JSON is valid YAML
        return path

    def _write(self, name: str, certificate: Blob, key: Blob) -> None:
        self.key(name).touch(mode=0o600)
        key.write_to_path(self.key(name))
        certificate.write_to_path(self.path(name))

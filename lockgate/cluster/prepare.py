"""`lockgate render --kubernetes`: write settings, keys and credential files; the manifests are rendered from them."""

import os
from collections.abc import Mapping

from lockgate_proof import Trust
from lockgate_step import layout

from lockgate.cluster.manifests.files import CREDENTIALS, private_files
from lockgate.cluster.manifests.network import closed
from lockgate.cluster.manifests.settings import Cluster, write_settings
from lockgate.definition.project import Project
from lockgate.errors import BadCall
from lockgate.records.environment import make_keys
from lockgate.rendering.files import write_or_check

_SERVERS = {
    "api_server": "the API server (kubectl get endpointslices -n default)",
    "store_egress": "the store",
    "registry_egress": "the model registry",
}
_FROM = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")


def prepare(project: Project, given: Mapping[str, str]) -> list[str]:
    """Write the given settings, and create missing keys; return what is left to do.

    An existing file is overwritten only by a given setting. Errors: BadCall, UnknownName.
    """
    write_settings(Cluster(project), given)
    cluster = Cluster(project)
    cluster.private.mkdir(parents=True, exist_ok=True, mode=0o700)
    _keys(cluster, project.signers)
    notes = _credentials(cluster)
    write_or_check(private_files(cluster))
    for name in closed(cluster):
        notes.append(f"no pod can reach {_SERVERS[name]} until you open its addresses: --set {name}=RANGE,...")
    return notes


def _keys(cluster: Cluster, signers: list[str]) -> None:
    """Create a key for each program without one in the trust file, so that it is created only once."""
    trust = cluster.environment / layout.TRUST
    known = {name for key in Trust.read(trust).keys for name in key.may} if trust.exists() else set()
    place = cluster.as_environment
    missing = [signer for signer in signers if signer not in known]
    for signer in missing:
        if place.key(signer).exists():
            msg = f"trust.json does not contain the key {place.key(signer).relative_to(cluster.project.root)}"
            raise BadCall(
                msg, fix="restore kubernetes/environment/trust.json, or move that key away to create a new one"
            )
    make_keys(place, missing, trust, cluster.settings.namespace, untrusted_elsewhere=False)


def _credentials(cluster: Cluster) -> list[str]:
    """Write the store's credentials from the variables of AWS's tools, or empty files for the owner to fill."""
    folder = cluster.private / layout.STORE_SECRET
    folder.mkdir(exist_ok=True, mode=0o700)
    for name, variable in zip(CREDENTIALS, _FROM, strict=True):
        path = folder / name
        if not path.exists() or (not path.stat().st_size and os.environ.get(variable)):
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="utf-8") as stream:
                stream.write(os.environ.get(variable, ""))
    empty = [name for name in CREDENTIALS if not (folder / name).stat().st_size]
    if not empty:
        return []
    return [f"fill {folder.relative_to(cluster.project.root)}/{{{','.join(empty)}}}: the store's credentials"]

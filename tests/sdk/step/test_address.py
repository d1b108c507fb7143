"""An address with credentials is refused, and never repeated."""

import pytest
from lockgate_step import BadCall, Data, without_credentials

SECRET = "hunter2secret"  # pragma: allowlist secret


@pytest.mark.parametrize(
    "address",
    [
        f"s3://u:{SECRET}@x/y", f"s3://{SECRET}@x/y", f"s3://u%3A{SECRET}%40x/y", f"https://{SECRET}@host",
        f"u:{SECRET}@x/y",
        f"u%3A{SECRET}@x/y", f"https://host/a?token={SECRET}", f"https://host/a?a=1&API_KEY={SECRET}",
        f"https://host/a?X-Amz-Security-Token={SECRET}", f"https://host/a?sv=1&sig={SECRET}",
        f"s3://b/k#secret={SECRET}",
        f"https://host/a?access%5Fkey={SECRET}", f"https://host/a;b?password={SECRET}", f"https://[u:{SECRET}@x/y",
    ],
)  # fmt: skip
def test_credentials_are_refused_without_a_word_of_them(address: str) -> None:
    with pytest.raises(BadCall, match=r"^the data address contains credentials$") as refused:
        without_credentials(address, "the data address")
    assert SECRET not in refused.value.fix
    assert "access_key_id" in refused.value.fix
    with pytest.raises(BadCall):
        Data(uri=address)


@pytest.mark.parametrize(
    "address",
    [
        "", "data/rows.csv", "data/a@b.csv", "file:///data/a@b.csv", "s3://bucket/a@b/key", "sqlite:////x/a@b/mlflow.db",
        "https://host:8443/path?version=3&page=2", "s3://bucket/tokens/secret.csv", "none", "0.5", "s3://bucket/a:b@c",
        "http://127.0.0.1:8080",
    ],
)  # fmt: skip
def test_an_address_without_credentials_is_returned(address: str) -> None:
    assert without_credentials(address, "the address") == address

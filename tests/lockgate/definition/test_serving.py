"""The serving settings are checked when the spec is created, not when Kubernetes rejects a pod."""

import pytest
from lockgate_step import SpecError

from lockgate import ModelSpec, Serving, label, number


def test_each_setting_is_in_the_spec_under_the_same_name() -> None:
    spec = ModelSpec(
        name="tiny",
        owner="a@example.org",
        data="rows.csv",
        target=label("y", positive="a", negative="b"),
        inputs={"x": number(0, 1)},
        sensitive={},
        serving=Serving(replicas=3, max_replicas=9, cpu="2", memory="512Mi"),
    )
    assert spec.to_json()["serving"] == {"replicas": 3, "max_replicas": 9, "cpu": "2", "memory": "512Mi"}


def test_by_default_a_node_can_be_drained_without_a_lost_request() -> None:
    assert Serving().replicas >= 2


@pytest.mark.parametrize(("replicas", "max_replicas"), [(0, 4), (-1, 4), (3, 2)])
def test_an_impossible_number_of_pods_is_refused(replicas: int, max_replicas: int) -> None:
    with pytest.raises(SpecError, match=f"replicas={replicas} and max_replicas={max_replicas} are invalid") as caught:
        Serving(replicas=replicas, max_replicas=max_replicas)
    assert caught.value.fix


@pytest.mark.parametrize("cpu", ["", "0", "0.5", "500 m", "-1", "1e3", "half", "500m\n"])
def test_a_cpu_that_is_not_a_quantity_is_refused(cpu: str) -> None:
    with pytest.raises(SpecError, match=r"cpu .* is not a quantity"):
        Serving(cpu=cpu)


@pytest.mark.parametrize("memory", ["", "0Gi", "1", "1GB", "1 Gi", "1.5Gi", "512m", "1Gi\n"])
def test_a_memory_that_is_not_a_quantity_is_refused(memory: str) -> None:
    with pytest.raises(SpecError, match=r"memory .* is not a quantity"):
        Serving(memory=memory)

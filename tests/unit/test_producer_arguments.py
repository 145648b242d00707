"""What a Producer and a Consumer refuse, before anything is created."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from shmtelemetry import Consumer, Producer, Schema, Telemetry, field

DTYPE = np.dtype([("ts", "<u8"), ("qty", "<u4")])


@pytest.fixture(autouse=True)
def nothing_is_created(monkeypatch: pytest.MonkeyPatch) -> None:
    def create(*_: object, **__: object) -> None:
        raise AssertionError("a segment was about to be created")

    monkeypatch.setattr("shmtelemetry.producer.create", create)


@pytest.mark.parametrize("capacity", [0, 1, 3, 1000, -2, 2**33, 2**63, 2**64, True, 8.0, "8", None])
def test_a_capacity_that_cannot_be_is_a_value_error(namespace: str, capacity: Any) -> None:
    with pytest.raises(ValueError, match="power of two"):
        Producer("orders", DTYPE, namespace, capacity=capacity)
    with pytest.raises(ValueError, match="power of two"):
        Telemetry("orders", namespace, capacity=capacity)


@pytest.mark.parametrize(
    "name", ["", "a/b", "../x", "a\0b", "a.b", "a b", "é", "x" * 65, "@reader", "orders\n", b"orders", None, 7]
)
def test_a_name_that_cannot_be_is_a_value_error(namespace: str, name: Any) -> None:
    for make in (
        lambda: Producer(name, DTYPE, namespace),
        lambda: Producer("orders", DTYPE, name),
        lambda: Telemetry(name, namespace),
        lambda: Telemetry("orders", name),
        lambda: Consumer(name, namespace),
        lambda: Consumer("orders", name),
    ):
        with pytest.raises(ValueError, match="expected 1 to 64 of A-Z a-z 0-9 _ -"):
            make()


@pytest.mark.parametrize(
    ("dtype", "reason"),
    [
        (np.dtype([]), "0 bytes"),
        (np.dtype([("x", "V0")]), "0 bytes"),
        (np.dtype([("x", "S65537")]), "65,537 bytes"),
        (np.dtype([("x", "O")]), "no objects"),
        (np.dtype([("x", [("y", "<u4")])]), "no objects, nested"),
        (np.dtype([("x", "<u4", (2,))]), "sub-arrays"),
        (np.dtype([("x", ">u4")]), "native byte order"),
        (np.dtype([("x", "c16")]), "expected booleans"),
        (np.dtype([("x", "V4")]), "expected booleans"),
        (np.dtype("<u8"), "structured dtype"),
        (float, "structured dtype"),
    ],
)
def test_a_dtype_that_cannot_be_is_a_value_error(namespace: str, dtype: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Producer("orders", dtype, namespace)


@pytest.mark.parametrize("policy", ["drop", "", None, "overwrite", 0])
def test_an_unknown_policy_is_a_value_error(namespace: str, policy: Any) -> None:
    with pytest.raises(ValueError, match="drop_newest, block"):
        Producer("orders", DTYPE, namespace, policy=policy)


@pytest.mark.parametrize(("policy", "timeout"), [("drop_newest", 1.0), ("block", -1.0), ("block", float("nan"))])
def test_a_timeout_that_cannot_be_is_a_value_error(namespace: str, policy: str, timeout: float) -> None:
    with pytest.raises(ValueError, match="timeout"):
        Producer("orders", DTYPE, namespace, policy=policy, timeout=timeout)


def test_a_group_that_does_not_exist_is_a_value_error(namespace: str) -> None:
    with pytest.raises(ValueError, match="no-such-group"):
        Producer("orders", DTYPE, namespace, group="no-such-group")


def test_a_schema_whose_metrics_cannot_be_is_a_value_error(namespace: str) -> None:
    schema = Schema(DTYPE, {"qty": field("counter", name="not a name")})
    with pytest.raises(ValueError, match="metric name"):
        Producer("orders", schema, namespace)

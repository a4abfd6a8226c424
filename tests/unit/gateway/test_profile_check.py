"""What is wrong with one profile by itself; the words are tested with the files that they are about."""

import msgspec

from cortex.contract.profile import Profile, Variant
from cortex.gateway.profile_check import faults_of

FINE = Profile(id="m", harness="h", vram_mb=1, parallel=1, variants={"vllm": Variant(args=(), context=1)})


def test_a_profile_in_order_has_none() -> None:
    assert list(faults_of(FINE)) == []


def test_every_fault_is_told_with_its_key() -> None:
    worse = msgspec.structs.replace(FINE, id=" ", parallel=0, min_replicas=2, max_replicas=1)
    assert [fault.partition(":")[0] for fault in faults_of(worse)] == ["id", "parallel", "max_replicas"]


def test_a_fault_of_a_harnesss_table_names_the_harness() -> None:
    worse = msgspec.structs.replace(FINE, variants={"vllm": Variant(quant="", min_devices=-1)})
    assert [fault.split(":")[:2] for fault in faults_of(worse)] == [["vllm", " quant"], ["vllm", " min_devices"]]

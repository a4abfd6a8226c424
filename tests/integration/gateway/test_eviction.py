"""An eviction is the neuron's work: the gateway names the victims to it, and speaks of inference only to engines."""

from tests.integration.gateway.scene import MODEL, Scene, scene

from cortex.contract.instance import Victim
from cortex.contract.profile import Profile

PROFILES = tuple(Profile(id=name, harness="llamacpp", vram_mb=3000) for name in (MODEL, "org/old"))


@scene(loaded=False, vram_mb=[(4000,)], profiles=PROFILES)
async def test_an_eviction_calls_the_neuron_and_never_an_engine(it: Scene) -> None:
    old = it.neuron.put("org/old", declared_mb=3000)
    assert (await it.ask({"model": "org/old", "messages": []})).status == 200
    assert (await it.ask()).status == 200
    assert [load.evict for load in it.neuron.loads] == [(Victim(model_id="org/old", generation=old.generation),)]
    assert {turn.path.removeprefix("/i/nonce") for turn in it.turns} == {"/v1/chat/completions"}

"""mistral.rs, in two modes that ``mode`` of the entry chooses between.

``shared``, the default: one server under systemd, with models that go in and out of it (``mistralrs/shared.py``).
``per_model``: one ``mistralrs serve`` process per model (``mistralrs/per_model.py``). It is the safer one: memory that
an unload leaves behind in a shared server comes back only when that is restarted.
"""

from cortex.neuron.harness.interface import Harness, Site
from cortex.neuron.mistralrs.per_model import MistralRsPerModel
from cortex.neuron.mistralrs.shared import SharedMistralRs
from cortex.neuron.settings import HarnessEntry


def mistralrs_harness(entry: HarnessEntry, site: Site) -> Harness:
    """Return the harness of an entry of kind ``mistralrs``. Raises: ConfigError."""
    return MistralRsPerModel(entry, site) if entry.mode == "per_model" else SharedMistralRs(entry, site)

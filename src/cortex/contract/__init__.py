"""The words spoken between gateway, neuron and CLI: data only, no behaviour.

Glossary (one word, one meaning):

node        a GPU host running a neuron
device      one GPU (or the CPU with its RAM) of a node, by index
harness     the adapter for one engine kind on a node
engine      the foreign server process itself
profile     one entry of the catalogue: how to serve a model, never where
placement   node + devices on which a profile can run
instance    one profile resident (or becoming so) at one placement
generation  one life of an instance, from load to unload
lease       a gateway's report on an instance, renewed at every poll
slot        the right to have one request in flight on an instance
pin         the instance is never evicted from that node
cold start  a request that had to wait for a load
cycle       one unload on a harness
dialect     a client-facing protocol
relay       moving response bytes from engine to client

Amounts of memory are MiB with the suffix ``_mb``; other units are in the name.
"""

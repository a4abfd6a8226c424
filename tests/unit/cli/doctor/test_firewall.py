"""What firewalld lists of its active zones decides whether other hosts reach a port."""

from cortex.cli.doctor.firewall import Zone, judge_firewall, zones_in

LISTING = """\
FedoraWorkstation (active)
  target: default
  icmp-block-inversion: no
  interfaces: eth0
  sources:
  services: dhcpv6-client ssh
  ports: 1025-65535/udp 1025-65535/tcp
  protocols:

block
  target: %%REJECT%%
  services:
  ports:

public (default, active)
  target: default
  interfaces: wlan0
  services: ssh cortex
  ports: 22/tcp
  rich rules:
"""


def test_active_zones_are_read_with_their_ports_and_services() -> None:
    assert zones_in(LISTING) == [
        Zone("FedoraWorkstation", "default", frozenset({"dhcpv6-client", "ssh"}), ((1025, 65535),)),
        Zone("public", "default", frozenset({"ssh", "cortex"}), ((22, 22),)),
    ]
    assert zones_in("") == []


def test_a_port_is_open_by_its_number_its_service_or_its_zone() -> None:
    zones = zones_in(LISTING)
    (by_range,) = judge_firewall(zones[:1], {"listen": (8000, 8000)}, {"listen": "cortex"})
    assert (by_range.result, by_range.found) == ("ok", "port 8000 is open in FedoraWorkstation")
    (by_service,) = judge_firewall(zones[1:], {"listen": (8000, 8000)}, {"listen": "cortex"})
    assert by_service.result == "ok"
    (by_zone,) = judge_firewall([Zone("trusted", "ACCEPT")], {"port": (9090, 9090)}, {})
    assert by_zone.result == "ok"


def test_a_closed_port_is_told_with_the_command_that_opens_it() -> None:
    one, other = judge_firewall(
        [Zone("public", "default")], {"port": (9090, 9090), "range": (9100, 9199)}, {"port": "cortex-neuron"}
    )
    assert one.result == other.result == "warn"
    assert one.do == "firewall-cmd --permanent --add-service=cortex-neuron && firewall-cmd --reload"
    assert other.do == "firewall-cmd --permanent --add-port=9100-9199/tcp && firewall-cmd --reload"


def test_nothing_that_is_served_to_others_needs_no_door() -> None:
    (found,) = judge_firewall([], {}, {})
    assert found.result == "ok"

"""What a server needs around it: catalogue, keys, networks, firewalls, groups, addresses."""

import os

from hcloud import APIException
from hcloud.firewalls import FirewallRule
from hcloud.locations import Location
from hcloud.networks import NetworkRoute, NetworkSubnet

from operation import client, done, operation


@operation("locations.get_all")
def _(s):
    assert [location.name for location in client.locations.get_all()][:3] == ["fsn1", "nbg1", "hel1"]


@operation("locations.get_by_name")
def _(s):
    s.location = client.locations.get_by_name("hel1")
    assert s.location.network_zone == "eu-central"


@operation("datacenters.get_all")
def _(s):
    assert len(client.datacenters.get_all()) == 6


@operation("server_types.get_all")
def _(s):
    assert "cx23" in [kind.name for kind in client.server_types.get_all()]


@operation("server_types.get_by_name")
def _(s):
    assert client.server_types.get_by_name("cx33").memory == 8


@operation("images.get_all")
def _(s):
    assert all(image.architecture == "arm" for image in client.images.get_all(architecture=["arm"]))


@operation("images.get_by_name_and_architecture")
def _(s):
    assert client.images.get_by_name_and_architecture("debian-12", "x86").os_version == "12"


@operation("isos.get_all")
def _(s):
    s.iso = client.isos.get_all()[0]


@operation("isos.get_by_id")
def _(s):
    assert client.isos.get_by_id(s.iso.id).name == s.iso.name


@operation("ssh_keys.create")
def _(s):
    s.key = client.ssh_keys.create("py-key", os.environ["PUBLIC_KEY"], labels={"a": "1"})


@operation("ssh_keys.get_by_fingerprint")
def _(s):
    assert client.ssh_keys.get_by_fingerprint(s.key.fingerprint).id == s.key.id


@operation("ssh_keys.update")
def _(s):
    assert s.key.update(name="py-key-2", labels={"a": "2"}).labels == {"a": "2"}


@operation("networks.create")
def _(s):
    subnet = NetworkSubnet(type="cloud", network_zone="eu-central", ip_range="10.0.1.0/24")
    s.network = client.networks.create("py-net", "10.0.0.0/16", subnets=[subnet])


@operation("networks.add_subnet")
def _(s):
    done(s.network.add_subnet(NetworkSubnet(type="cloud", network_zone="eu-central", ip_range="10.0.2.0/24")))
    s.network.reload()
    assert len(s.network.subnets) == 2


@operation("networks.delete_subnet")
def _(s):
    done(s.network.delete_subnet(s.network.subnets[1]))


@operation("networks.add_route")
def _(s):
    done(s.network.add_route(NetworkRoute(destination="10.100.1.0/24", gateway="10.0.1.7")))
    s.network.reload()
    assert s.network.routes[0].gateway == "10.0.1.7"


@operation("networks.delete_route")
def _(s):
    done(s.network.delete_route(s.network.routes[0]))


@operation("networks.change_ip_range")
def _(s):
    done(s.network.change_ip_range("10.0.0.0/12"))


@operation("networks.change_protection")
def _(s):
    done(s.network.change_protection(delete=True))
    try:
        s.network.delete()
        raise AssertionError("a protected network was deleted")
    except APIException as error:
        assert error.code == "protected"
    done(s.network.change_protection(delete=False))


@operation("firewalls.create")
def _(s):
    rule = FirewallRule(direction="in", protocol="tcp", port="22", source_ips=["0.0.0.0/0", "::/0"])
    s.firewall = client.firewalls.create("py-fw", rules=[rule]).firewall


@operation("firewalls.set_rules")
def _(s):
    rule = FirewallRule(direction="in", protocol="icmp", source_ips=["10.0.0.0/8"], description="ping")
    for action in s.firewall.set_rules([rule]):
        done(action)
    s.firewall.reload()
    assert s.firewall.rules[0].description == "ping"


@operation("placement_groups.create")
def _(s):
    s.group = client.placement_groups.create("py-group", "spread").placement_group


@operation("placement_groups.update")
def _(s):
    assert s.group.update(labels={"b": "1"}).labels == {"b": "1"}


@operation("primary_ips.create")
def _(s):
    created = client.primary_ips.create(type="ipv4", name="py-ip", location=Location(name="hel1"))
    s.address = created.primary_ip
    assert s.address.assignee_id is None


@operation("primary_ips.change_dns_ptr")
def _(s):
    done(s.address.change_dns_ptr(s.address.ip, "py.example.com"))
    s.address.reload()
    assert s.address.dns_ptr[0]["dns_ptr"] == "py.example.com"

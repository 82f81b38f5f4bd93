"""Operations of Hetzner's own Python client, one after the other on one project.

Prints a JSON line for each: its title, and what went wrong or null. Each function is one operation and asserts what
it brought about, as far as the client shows it.

Environment: HCLOUD_ENDPOINT, HCLOUD_TOKEN, PUBLIC_KEY (an OpenSSH public key).
"""

import json
import os
import traceback
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace

from hcloud import APIException, Client
from hcloud.firewalls import FirewallResource, FirewallResourceLabelSelector, FirewallRule
from hcloud.images import Image
from hcloud.isos import Iso
from hcloud.locations import Location
from hcloud.networks import NetworkRoute, NetworkSubnet
from hcloud.server_types import ServerType
from hcloud.servers import ServerCreatePublicNetwork

client = Client(
    token=os.environ["HCLOUD_TOKEN"],
    api_endpoint=os.environ["HCLOUD_ENDPOINT"],
    application_name="operations",
    poll_interval=0.01,
)
operations = []


def operation(title):
    def add(function):
        operations.append((title, function))
        return function

    return add


def done(action):
    action.wait_until_finished()


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


@operation("servers.create")
def _(s):
    created = client.servers.create(
        "py-1",
        ServerType(name="cx23"),
        Image(name="debian-12"),
        ssh_keys=[s.key],
        firewalls=[s.firewall],
        networks=[s.network],
        placement_group=s.group,
        public_net=ServerCreatePublicNetwork(ipv4=s.address),
        location=Location(name="hel1"),
        user_data="#cloud-config\n",
        labels={"role": "test"},
    )
    s.server = created.server
    done(created.action)
    for action in created.next_actions:
        done(action)
    s.server.reload()
    assert s.server.status == "running"
    assert created.root_password is None


@operation("servers.get_by_name")
def _(s):
    server = client.servers.get_by_name("py-1")
    assert server.public_net.ipv4.ip == s.address.ip
    assert server.private_net[0].network.id == s.network.id


@operation("servers.get_all")
def _(s):
    assert [server.id for server in client.servers.get_all(label_selector="role in (test)")] == [s.server.id]


@operation("servers.get_list")
def _(s):
    page = client.servers.get_list(page=1, per_page=1, status=["running"])
    assert page.meta.pagination.total_entries == 1


@operation("servers.update")
def _(s):
    s.server = s.server.update(name="py-2", labels={"role": "renamed"})
    assert s.server.name == "py-2"


@operation("servers.change_dns_ptr")
def _(s):
    done(s.server.change_dns_ptr(s.address.ip, "server.example.com"))
    s.server.reload()
    assert s.server.public_net.ipv4.dns_ptr == "server.example.com"


@operation("servers.get_metrics")
def _(s):
    now = datetime.now(timezone.utc)
    metrics = s.server.get_metrics(["cpu", "network"], now - timedelta(minutes=10), now, step=60).metrics
    assert "cpu" in metrics.time_series


@operation("servers.request_console")
def _(s):
    answer = s.server.request_console()
    done(answer.action)
    assert answer.wss_url.startswith("wss://")


@operation("servers.reset_password")
def _(s):
    answer = s.server.reset_password()
    done(answer.action)
    assert answer.root_password


@operation("servers.reboot")
def _(s):
    done(s.server.reboot())


@operation("servers.reset")
def _(s):
    done(s.server.reset())


@operation("servers.enable_rescue")
def _(s):
    answer = s.server.enable_rescue(type="linux64", ssh_keys=[s.key.id])
    done(answer.action)
    s.server.reload()
    assert s.server.rescue_enabled


@operation("servers.disable_rescue")
def _(s):
    done(s.server.disable_rescue())


@operation("servers.attach_iso")
def _(s):
    done(s.server.attach_iso(Iso(id=s.iso.id)))
    s.server.reload()
    assert s.server.iso.id == s.iso.id


@operation("servers.detach_iso")
def _(s):
    done(s.server.detach_iso())


@operation("servers.enable_backup")
def _(s):
    done(s.server.enable_backup())
    s.server.reload()
    assert s.server.backup_window


@operation("servers.create_image: backup")
def _(s):
    answer = s.server.create_image(description="py backup", type="backup")
    done(answer.action)
    assert answer.image.type == "backup"


@operation("servers.disable_backup")
def _(s):
    done(s.server.disable_backup())


@operation("servers.create_image: snapshot")
def _(s):
    answer = s.server.create_image(description="py snapshot", labels={"c": "1"})
    done(answer.action)
    s.snapshot = client.images.get_by_id(answer.image.id)
    assert s.snapshot.status == "available"


@operation("images.update")
def _(s):
    assert s.snapshot.update(description="renamed").description == "renamed"


@operation("images.change_protection")
def _(s):
    done(s.snapshot.change_protection(delete=True))
    done(s.snapshot.change_protection(delete=False))


@operation("servers.rebuild")
def _(s):
    done(s.server.rebuild(Image(id=s.snapshot.id)).action)
    s.server.reload()
    assert s.server.image.id == s.snapshot.id


@operation("images.delete")
def _(s):
    assert s.snapshot.delete() is True


@operation("servers.shutdown")
def _(s):
    done(s.server.shutdown())


@operation("servers.power_off")
def _(s):
    done(s.server.power_off())
    s.server.reload()
    assert s.server.status == "off"


@operation("servers.change_type")
def _(s):
    done(s.server.change_type(ServerType(name="cx33"), upgrade_disk=False))
    s.server.reload()
    assert s.server.server_type.name == "cx33"


@operation("servers.remove_from_placement_group")
def _(s):
    done(s.server.power_off())
    done(s.server.remove_from_placement_group())


@operation("servers.add_to_placement_group")
def _(s):
    done(s.server.add_to_placement_group(s.group))
    s.group.reload()
    assert s.group.servers == [s.server.id]


@operation("servers.power_on")
def _(s):
    done(s.server.power_on())
    s.server.reload()
    assert s.server.status == "running"


@operation("servers.change_alias_ips")
def _(s):
    done(s.server.change_alias_ips(s.network, ["10.0.1.50"]))
    s.server.reload()
    assert s.server.private_net[0].alias_ips == ["10.0.1.50"]


@operation("servers.detach_from_network")
def _(s):
    done(s.server.detach_from_network(s.network))
    s.server.reload()
    assert s.server.private_net == []


@operation("servers.attach_to_network")
def _(s):
    done(s.server.attach_to_network(s.network, ip="10.0.1.9"))
    s.server.reload()
    assert s.server.private_net[0].ip == "10.0.1.9"


@operation("servers.change_protection")
def _(s):
    done(s.server.change_protection(delete=True, rebuild=True))
    try:
        s.server.delete()
        raise AssertionError("a protected server was deleted")
    except APIException as error:
        assert error.code == "protected"
    done(s.server.change_protection(delete=False, rebuild=False))


selector = FirewallResource(
    type="label_selector", label_selector=FirewallResourceLabelSelector(selector="role==renamed")
)


@operation("firewalls.apply_to_resources")
def _(s):
    for action in s.firewall.apply_to_resources([selector]):
        done(action)
    s.firewall.reload()
    assert "label_selector" in [resource.type for resource in s.firewall.applied_to]


@operation("firewalls.remove_from_resources")
def _(s):
    for action in s.firewall.remove_from_resources([selector]):
        done(action)


@operation("volumes.create")
def _(s):
    created = client.volumes.create(10, "py-vol", location=Location(name="hel1"), format="ext4")
    done(created.action)
    s.volume = created.volume
    assert s.volume.size == 10


@operation("volumes.attach")
def _(s):
    done(s.volume.attach(s.server, automount=False))
    s.server.reload()
    assert [volume.id for volume in s.server.volumes] == [s.volume.id]


@operation("volumes.detach")
def _(s):
    done(s.volume.detach())


@operation("volumes.resize")
def _(s):
    done(s.volume.resize(20))
    s.volume.reload()
    assert s.volume.size == 20


@operation("volumes.delete")
def _(s):
    assert s.volume.delete() is True


@operation("floating_ips.create")
def _(s):
    created = client.floating_ips.create("ipv4", description="py", home_location=Location(name="hel1"))
    s.floating = created.floating_ip


@operation("floating_ips.assign")
def _(s):
    done(s.floating.assign(s.server))
    s.floating.reload()
    assert s.floating.server.id == s.server.id


@operation("floating_ips.unassign")
def _(s):
    done(s.floating.unassign())


@operation("floating_ips.delete")
def _(s):
    assert s.floating.delete() is True


@operation("servers.get_actions_list")
def _(s):
    commands = [action.command for action in s.server.get_actions()]
    assert commands[0] == "create_server" and "rebuild_server" in commands


@operation("actions.get_by_id")
def _(s):
    first = s.server.get_actions()[0]
    assert client.actions.get_by_id(first.id).status == "success"


@operation("servers.delete")
def _(s):
    done(s.server.delete())
    assert client.servers.get_by_name("py-2") is None


@operation("primary_ips.delete")
def _(s):
    assert s.address.delete() is True


@operation("firewalls.delete")
def _(s):
    assert s.firewall.delete() is True


@operation("networks.delete")
def _(s):
    assert s.network.delete() is True


@operation("placement_groups.delete")
def _(s):
    assert s.group.delete() is True


@operation("ssh_keys.delete")
def _(s):
    assert s.key.delete() is True


@operation("servers.get_by_id of none")
def _(s):
    try:
        client.servers.get_by_id(s.server.id)
        raise AssertionError("a deleted server was found")
    except APIException as error:
        assert error.code == "not_found"


def main():
    state = SimpleNamespace()
    for title, function in operations:
        problem = None
        try:
            function(state)
        except Exception as error:  # any failure is a result
            frame = traceback.extract_tb(error.__traceback__)[1]
            problem = f"{type(error).__name__}: {error} (line {frame.lineno}: {frame.line})"
        print(json.dumps({"title": title, "problem": problem}), flush=True)


main()

"""What is attached to a server, and the end of everything."""

from hcloud import APIException
from hcloud.firewalls import FirewallResource, FirewallResourceLabelSelector
from hcloud.locations import Location

from operation import client, done, operation


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

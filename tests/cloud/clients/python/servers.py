"""A server from its order to its protection."""

from datetime import datetime, timedelta, timezone

from hcloud import APIException
from hcloud.images import Image
from hcloud.isos import Iso
from hcloud.locations import Location
from hcloud.server_types import ServerType
from hcloud.servers import ServerCreatePublicNetwork

from operation import client, done, operation


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

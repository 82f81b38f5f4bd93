package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/hashicorp/terraform-plugin-sdk/v2/diag"
	"github.com/hashicorp/terraform-plugin-sdk/v2/helper/schema"
	"github.com/hetznercloud/hcloud-go/v2/hcloud"
)

// updateServer changes in place what can be, in the recorded order: name, labels and type each by a call of its own.
func updateServer(ctx context.Context, d *schema.ResourceData, meta any) diag.Diagnostics {
	client := meta.(*hcloud.Client)
	server, _, err := client.Server.Get(ctx, d.Id())
	if err != nil {
		return failure(err)
	}
	if server == nil {
		d.SetId("")
		return nil
	}
	update := func(options hcloud.ServerUpdateOpts) error {
		_, _, err := client.Server.Update(ctx, server, options)
		return err
	}
	problem, done := takeSteps(d,
		step{d.HasChange("name"), true, func() error {
			return update(hcloud.ServerUpdateOpts{Name: d.Get("name").(string)})
		}},
		step{d.HasChange("labels"), true, func() error {
			return update(hcloud.ServerUpdateOpts{Labels: changedLabels(d)})
		}},
		step{d.HasChange("server_type"), false, func() error { return changeType(ctx, client, server, d) }},
		step{d.HasChange("backups"), false, func() error { return setBackups(ctx, client, server, d.Get("backups").(bool)) }},
		step{d.HasChange("iso"), false, func() error { return setISO(ctx, client, server, d.Get("iso").(string)) }},
		step{d.HasChange("rescue"), false, func() error {
			keys, err := sshKeysOf(ctx, client, d)
			if err != nil {
				return err
			}
			return setRescue(ctx, client, server, d.Get("rescue").(string), keys)
		}},
		step{d.HasChange("network"), false, func() error { return changeNetworks(ctx, client, server, d) }},
		step{d.HasChange("firewall_ids"), false, func() error { return changeFirewalls(ctx, client, server, d) }},
		step{d.HasChange("public_net"), false, func() error { return changePublicNet(ctx, client, server, d) }},
		step{d.HasChange("placement_group_id"), false, func() error { return changePlacementGroup(ctx, client, server, d) }},
		step{d.HasChanges("delete_protection", "rebuild_protection"), false, func() error {
			return setProtection(ctx, client, server, d)
		}},
	)
	if !done {
		return problem
	}
	return readServer(ctx, d, meta)
}

func changeType(ctx context.Context, client *hcloud.Client, server *hcloud.Server, d *schema.ResourceData) error {
	if server.Status == hcloud.ServerStatusRunning {
		if err := finished(ctx, client)(client.Server.Poweroff(ctx, server)); err != nil {
			return err
		}
	}
	// The API starts the server again by itself. If this fails the server stays off, as with the real provider.
	return finished(ctx, client)(client.Server.ChangeType(ctx, server, hcloud.ServerChangeTypeOpts{
		ServerType:  &hcloud.ServerType{Name: d.Get("server_type").(string)},
		UpgradeDisk: !d.Get("keep_disk").(bool),
	}))
}

// setBackups makes no call when backups are as they shall be.
func setBackups(ctx context.Context, client *hcloud.Client, server *hcloud.Server, on bool) error {
	switch {
	case on && server.BackupWindow == "":
		return finished(ctx, client)(client.Server.EnableBackup(ctx, server, ""))
	case !on && server.BackupWindow != "":
		return finished(ctx, client)(client.Server.DisableBackup(ctx, server))
	default:
		return nil
	}
}

// setISO with "" takes the ISO out. The server is reset, so that it boots from what is in now.
func setISO(ctx context.Context, client *hcloud.Client, server *hcloud.Server, reference string) error {
	if server.ISO == nil && reference == "" {
		return nil
	}
	if server.ISO != nil {
		if err := finished(ctx, client)(client.Server.DetachISO(ctx, server)); err != nil {
			return err
		}
	}
	if reference != "" {
		iso, _, err := client.ISO.Get(ctx, reference)
		if err != nil {
			return err
		}
		if iso == nil {
			return fmt.Errorf("ISO not found: %s", reference)
		}
		if iso.Architecture != nil && *iso.Architecture != server.ServerType.Architecture {
			return errors.New("failed to attach iso: iso has a different architecture than the server")
		}
		if err := finished(ctx, client)(client.Server.AttachISO(ctx, server, iso)); err != nil {
			return err
		}
	}
	return finished(ctx, client)(client.Server.Reset(ctx, server))
}

// setRescue with "" switches the rescue system off. The server is reset into it or out of it.
func setRescue(ctx context.Context, client *hcloud.Client, server *hcloud.Server, kind string, keys []*hcloud.SSHKey) error {
	if !server.RescueEnabled && kind == "" {
		return nil
	}
	named := func(err error) error { return within("hcloud/setRescue", err) }
	if server.RescueEnabled {
		if err := finished(ctx, client)(client.Server.DisableRescue(ctx, server)); err != nil {
			return named(err)
		}
	}
	if kind != "" {
		err := retried(ctx, usualTries, anyError, func() error {
			result, _, err := client.Server.EnableRescue(ctx, server, hcloud.ServerEnableRescueOpts{
				Type: hcloud.ServerRescueType(kind), SSHKeys: keys,
			})
			if err != nil {
				return err
			}
			return waitFor(ctx, client, result.Action)
		})
		if err != nil {
			return named(err)
		}
	}
	// Named twice, as in the real provider's text.
	return named(retried(ctx, 2*usualTries, anyError, func() error {
		return named(finished(ctx, client)(client.Server.Reset(ctx, server)))
	}))
}

func powerOn(ctx context.Context, client *hcloud.Client, server *hcloud.Server) error {
	return retried(ctx, usualTries, anyError, func() error {
		return finished(ctx, client)(client.Server.Poweron(ctx, server))
	})
}

// changeFirewalls compares with what the server has now, so a firewall that vanished meanwhile needs no call.
func changeFirewalls(ctx context.Context, client *hcloud.Client, server *hcloud.Server, d *schema.ResourceData) error {
	wanted := d.Get("firewall_ids").(*schema.Set)
	target := []hcloud.FirewallResource{serverTarget(server.ID)}
	present := map[int64]bool{}
	for _, status := range server.PublicNet.Firewalls {
		present[status.Firewall.ID] = true
		if wanted.Contains(int(status.Firewall.ID)) {
			continue
		}
		if err := finishedAll(ctx, client)(client.Firewall.RemoveResources(ctx, &status.Firewall, target)); err != nil {
			return err
		}
	}
	for _, item := range wanted.List() {
		id := int64(item.(int))
		if present[id] {
			continue
		}
		if err := finishedAll(ctx, client)(client.Firewall.ApplyResources(ctx, &hcloud.Firewall{ID: id}, target)); err != nil {
			return err
		}
	}
	return nil
}

func placementGroupOf(ctx context.Context, client *hcloud.Client, id int64) (*hcloud.PlacementGroup, error) {
	group, _, err := client.PlacementGroup.GetByID(ctx, id)
	if err == nil && group == nil {
		err = fmt.Errorf("placement group not found: %d", id)
	}
	return group, err
}

func changePlacementGroup(ctx context.Context, client *hcloud.Client, server *hcloud.Server, d *schema.ResourceData) error {
	if server.PlacementGroup != nil {
		if server.Status != hcloud.ServerStatusOff {
			return errors.New("removing a running server from a placement group is currently not supported in the provider. " +
				"You can shutdown the server yourself, apply the changes again and then start the server manually as a workaround")
		}
		if err := finished(ctx, client)(client.Server.RemoveFromPlacementGroup(ctx, server)); err != nil {
			return err
		}
	}
	id := numberOf(d, "placement_group_id")
	if id == 0 {
		return nil
	}
	group, err := placementGroupOf(ctx, client, id)
	if err != nil {
		return err
	}
	return finished(ctx, client)(client.Server.AddToPlacementGroup(ctx, server, group))
}

func setProtection(ctx context.Context, client *hcloud.Client, server *hcloud.Server, d *schema.ResourceData) error {
	remove, rebuild := d.Get("delete_protection").(bool), d.Get("rebuild_protection").(bool)
	return finished(ctx, client)(client.Server.ChangeProtection(ctx, server,
		hcloud.ServerChangeProtectionOpts{Delete: &remove, Rebuild: &rebuild}))
}

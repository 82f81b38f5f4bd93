package main

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"

	"github.com/hashicorp/terraform-plugin-sdk/v2/diag"
	"github.com/hashicorp/terraform-plugin-sdk/v2/helper/schema"
	"github.com/hetznercloud/hcloud-go/v2/hcloud"
)

// updateServer changes in place what can be, one request a group of attributes, in the recorded order: name, labels
// and type each by a call of their own.
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
	// What was not reached must not be in the state as if it were.
	d.Partial(true)
	for _, step := range []func(context.Context, *hcloud.Client, *hcloud.Server, *schema.ResourceData) error{
		updateName, updateLabels, updateType, updateFirewalls, updateNetworks, updateBackups, updatePlacementGroup, updateProtection,
	} {
		if err := step(ctx, client, server, d); err != nil {
			return failure(err)
		}
	}
	d.Partial(false)
	return readServer(ctx, d, meta)
}

func updateName(ctx context.Context, client *hcloud.Client, server *hcloud.Server, d *schema.ResourceData) error {
	if !d.HasChange("name") {
		return nil
	}
	_, _, err := client.Server.Update(ctx, server, hcloud.ServerUpdateOpts{Name: d.Get("name").(string)})
	return err
}

func updateLabels(ctx context.Context, client *hcloud.Client, server *hcloud.Server, d *schema.ResourceData) error {
	if !d.HasChange("labels") {
		return nil
	}
	_, _, err := client.Server.Update(ctx, server, hcloud.ServerUpdateOpts{Labels: changedLabels(d)})
	return err
}

func updateType(ctx context.Context, client *hcloud.Client, server *hcloud.Server, d *schema.ResourceData) error {
	if !d.HasChange("server_type") {
		return nil
	}
	if server.Status == hcloud.ServerStatusRunning {
		action, _, err := client.Server.Poweroff(ctx, server)
		if err != nil {
			return err
		}
		if err := waitFor(ctx, client, action); err != nil {
			return err
		}
	}
	// The API starts the server again by itself. If this fails the server stays off, as with the real provider.
	action, _, err := client.Server.ChangeType(ctx, server, hcloud.ServerChangeTypeOpts{
		ServerType:  &hcloud.ServerType{Name: d.Get("server_type").(string)},
		UpgradeDisk: !d.Get("keep_disk").(bool),
	})
	if err != nil {
		return err
	}
	return waitFor(ctx, client, action)
}

// updateFirewalls compares with what the server has now, so a firewall that vanished meanwhile needs no call.
func updateFirewalls(ctx context.Context, client *hcloud.Client, server *hcloud.Server, d *schema.ResourceData) error {
	if !d.HasChange("firewall_ids") || d.Get("ignore_remote_firewall_ids").(bool) {
		return nil
	}
	wanted := d.Get("firewall_ids").(*schema.Set)
	resource := []hcloud.FirewallResource{{
		Type: hcloud.FirewallResourceTypeServer, Server: &hcloud.FirewallResourceServer{ID: server.ID},
	}}
	present := map[int64]bool{}
	for _, status := range server.PublicNet.Firewalls {
		present[status.Firewall.ID] = true
		if wanted.Contains(int(status.Firewall.ID)) {
			continue
		}
		actions, _, err := client.Firewall.RemoveResources(ctx, &status.Firewall, resource)
		if err != nil && !hcloud.IsError(err, hcloud.ErrorCodeFirewallResourceNotFound) {
			return err
		}
		if err := waitFor(ctx, client, actions...); err != nil {
			return err
		}
	}
	for _, id := range wanted.List() {
		if present[int64(id.(int))] {
			continue
		}
		actions, _, err := client.Firewall.ApplyResources(ctx, &hcloud.Firewall{ID: int64(id.(int))}, resource)
		if err != nil && !hcloud.IsError(err, hcloud.ErrorCodeFirewallAlreadyApplied) {
			return err
		}
		if err := waitFor(ctx, client, actions...); err != nil {
			return err
		}
	}
	return nil
}

func updateBackups(ctx context.Context, client *hcloud.Client, server *hcloud.Server, d *schema.ResourceData) error {
	if !d.HasChange("backups") {
		return nil
	}
	return setBackups(ctx, client, server, d.Get("backups").(bool))
}

func setBackups(ctx context.Context, client *hcloud.Client, server *hcloud.Server, on bool) error {
	var action *hcloud.Action
	var err error
	if on {
		action, _, err = client.Server.EnableBackup(ctx, server, "")
	} else {
		action, _, err = client.Server.DisableBackup(ctx, server)
	}
	if err != nil {
		return err
	}
	return waitFor(ctx, client, action)
}

func updateProtection(ctx context.Context, client *hcloud.Client, server *hcloud.Server, d *schema.ResourceData) error {
	if !d.HasChanges("delete_protection", "rebuild_protection") {
		return nil
	}
	return setProtection(ctx, client, server, d)
}

func setProtection(ctx context.Context, client *hcloud.Client, server *hcloud.Server, d *schema.ResourceData) error {
	action, _, err := client.Server.ChangeProtection(ctx, server, hcloud.ServerChangeProtectionOpts{
		Delete: hcloud.Ptr(d.Get("delete_protection").(bool)), Rebuild: hcloud.Ptr(d.Get("rebuild_protection").(bool)),
	})
	if err != nil {
		return err
	}
	return waitFor(ctx, client, action)
}

func updatePlacementGroup(ctx context.Context, client *hcloud.Client, server *hcloud.Server, d *schema.ResourceData) error {
	if !d.HasChange("placement_group_id") {
		return nil
	}
	if server.PlacementGroup != nil {
		if server.Status != hcloud.ServerStatusOff {
			return fmt.Errorf("removing a running server from a placement group is not possible; switch it off first")
		}
		action, _, err := client.Server.RemoveFromPlacementGroup(ctx, server)
		if err != nil {
			return err
		}
		if err := waitFor(ctx, client, action); err != nil {
			return err
		}
	}
	id := d.Get("placement_group_id").(int)
	if id == 0 {
		return nil
	}
	action, _, err := client.Server.AddToPlacementGroup(ctx, server, &hcloud.PlacementGroup{ID: int64(id)})
	if err != nil {
		return err
	}
	return waitFor(ctx, client, action)
}

func updateNetworks(ctx context.Context, client *hcloud.Client, server *hcloud.Server, d *schema.ResourceData) error {
	if !d.HasChange("network") {
		return nil
	}
	wanted := map[int64]map[string]any{}
	for _, item := range d.Get("network").(*schema.Set).List() {
		block := item.(map[string]any)
		network, err := networkIDOf(block)
		if err != nil {
			return err
		}
		wanted[network] = block
	}
	attached := map[int64]bool{}
	for _, private := range server.PrivateNet {
		if _, keep := wanted[private.Network.ID]; keep {
			attached[private.Network.ID] = true
			continue
		}
		action, _, err := client.Server.DetachFromNetwork(ctx, server, hcloud.ServerDetachFromNetworkOpts{Network: private.Network})
		if err != nil {
			return err
		}
		if err := waitFor(ctx, client, action); err != nil {
			return err
		}
	}
	for id, block := range wanted {
		if attached[id] {
			continue
		}
		if err := attachToNetwork(ctx, client, server, block); err != nil {
			return err
		}
	}
	return nil
}

// networkIDOf reads network_id, or takes it from a subnet id `<network>-<cidr>`.
func networkIDOf(block map[string]any) (int64, error) {
	if id, _ := block["network_id"].(int); id != 0 {
		return int64(id), nil
	}
	subnet, _ := block["subnet_id"].(string)
	network, _, _ := strings.Cut(subnet, "-")
	id, err := strconv.ParseInt(network, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("network block without network_id and with subnet_id %q", subnet)
	}
	return id, nil
}

func attachToNetwork(ctx context.Context, client *hcloud.Client, server *hcloud.Server, block map[string]any) error {
	network, err := networkIDOf(block)
	if err != nil {
		return err
	}
	options := hcloud.ServerAttachToNetworkOpts{Network: &hcloud.Network{ID: network}}
	if ip, _ := block["ip"].(string); ip != "" {
		options.IP = net.ParseIP(ip)
	}
	if aliases, ok := block["alias_ips"].(*schema.Set); ok {
		for _, alias := range aliases.List() {
			options.AliasIPs = append(options.AliasIPs, net.ParseIP(alias.(string)))
		}
	}
	action, _, err := client.Server.AttachToNetwork(ctx, server, options)
	if err != nil {
		return err
	}
	return waitFor(ctx, client, action)
}

// networksOf writes back the networks that the configuration knows; others belong to hcloud_server_network.
func networksOf(server *hcloud.Server, configured *schema.Set) []map[string]any {
	subnets := map[int64]any{}
	for _, item := range configured.List() {
		block := item.(map[string]any)
		if id, err := networkIDOf(block); err == nil {
			subnets[id] = block["subnet_id"]
		}
	}
	blocks := []map[string]any{}
	for _, private := range server.PrivateNet {
		subnet, known := subnets[private.Network.ID]
		if !known {
			continue
		}
		aliases := []string{}
		for _, alias := range private.Aliases {
			aliases = append(aliases, alias.String())
		}
		blocks = append(blocks, map[string]any{
			"network_id": int(private.Network.ID), "subnet_id": subnet, "ip": private.IP.String(),
			"alias_ips": aliases, "mac_address": private.MACAddress,
		})
	}
	return blocks
}

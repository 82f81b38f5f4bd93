package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"

	"github.com/hashicorp/terraform-plugin-sdk/v2/helper/schema"
	"github.com/hetznercloud/hcloud-go/v2/hcloud"
)

// networkOf a network block: by its subnet, if it names one, else by network_id; the range only with a subnet.
func networkOf(block map[string]any) (*hcloud.Network, *net.IPNet, error) {
	if subnet, _ := block["subnet_id"].(string); subnet != "" {
		return parseSubnetID(subnet)
	}
	id, _ := block["network_id"].(int)
	if id == 0 {
		return nil, nil, errors.New("either subnet_id or network_id must be set")
	}
	return &hcloud.Network{ID: int64(id)}, nil, nil
}

func aliasesOf(block map[string]any) []net.IP {
	addresses := []net.IP{}
	for _, alias := range block["alias_ips"].(*schema.Set).List() {
		addresses = append(addresses, net.ParseIP(alias.(string)))
	}
	return addresses
}

// joinBlock puts the server into the network of a block of hcloud_server.
func joinBlock(ctx context.Context, client *hcloud.Client, server *hcloud.Server, block map[string]any) error {
	const operation = "hcloud/inlineAttachServerToNetwork"
	network, ipRange, err := networkOf(block)
	if err != nil {
		return within(operation, err)
	}
	action, err := joinNetwork(ctx, client, server, hcloud.ServerAttachToNetworkOpts{
		Network: network, IPRange: ipRange, IP: net.ParseIP(block["ip"].(string)), AliasIPs: aliasesOf(block),
	})
	if err == nil {
		err = waitFor(ctx, client, action)
	}
	return within(operation, within("attach server to network", err))
}

// joinNetwork starts to put a server into a network; no action when it is in there already.
func joinNetwork(ctx context.Context, client *hcloud.Client, server *hcloud.Server, options hcloud.ServerAttachToNetworkOpts) (*hcloud.Action, error) {
	again := withCode(hcloud.ErrorCodeConflict, hcloud.ErrorCodeLocked, hcloud.ErrorCodeServiceError, hcloud.ErrorCodeNoSubnetAvailable)
	var action *hcloud.Action
	err := retried(ctx, usualTries, again, func() (err error) {
		action, _, err = client.Server.AttachToNetwork(ctx, server, options)
		return err
	})
	if hcloud.IsError(err, hcloud.ErrorCodeServerAlreadyAttached) {
		return nil, nil
	}
	return action, err
}

// leaveNetwork starts to take a server out of a network; no action when one of the two is gone.
func leaveNetwork(ctx context.Context, client *hcloud.Client, server *hcloud.Server, network *hcloud.Network) (*hcloud.Action, error) {
	again := withCode(hcloud.ErrorCodeConflict, hcloud.ErrorCodeLocked, hcloud.ErrorCodeServiceError)
	var action *hcloud.Action
	err := retried(ctx, usualTries, again, func() (err error) {
		action, _, err = client.Server.DetachFromNetwork(ctx, server, hcloud.ServerDetachFromNetworkOpts{Network: network})
		return err
	})
	if hcloud.IsError(err, hcloud.ErrorCodeNotFound) {
		return nil, nil
	}
	return action, err
}

// changeNetworks makes the server's networks those of the blocks. An address cannot be changed: the server leaves the
// network and joins it anew.
func changeNetworks(ctx context.Context, client *hcloud.Client, server *hcloud.Server, d *schema.ResourceData) error {
	const operation = "hcloud/updateServerInlineNetworkAttachments"
	wanted := map[int64]map[string]any{}
	for _, item := range d.Get("network").(*schema.Set).List() {
		block := item.(map[string]any)
		if network, _, err := networkOf(block); err == nil {
			wanted[network.ID] = block
		}
	}
	leave := func(network *hcloud.Network) error {
		action, err := leaveNetwork(ctx, client, server, network)
		if err == nil {
			err = waitFor(ctx, client, action)
		}
		return within("hcloud/detachServerFromNetwork", err)
	}
	for _, private := range server.PrivateNet {
		block, keep := wanted[private.Network.ID]
		delete(wanted, private.Network.ID)
		var err error
		switch {
		case !keep:
			err = leave(private.Network)
		case block["ip"].(string) != private.IP.String():
			if err = leave(private.Network); err == nil {
				err = joinBlock(ctx, client, server, block)
			}
		case !sameAddresses(aliasesOf(block), private.Aliases):
			err = within("hcloud/updateServerAliasIPs", finished(ctx, client)(client.Server.ChangeAliasIPs(ctx, server,
				hcloud.ServerChangeAliasIPsOpts{Network: private.Network, AliasIPs: aliasesOf(block)})))
		}
		if err != nil {
			return within(operation, err)
		}
	}
	for _, block := range wanted {
		if err := joinBlock(ctx, client, server, block); err != nil {
			return within(operation, err)
		}
	}
	return nil
}

func sameAddresses(some, others []net.IP) bool {
	sorted := func(addresses []net.IP) []string {
		texts := addressTexts(addresses)
		slices.Sort(texts)
		return texts
	}
	return slices.Equal(sorted(some), sorted(others))
}

func addressTexts(addresses []net.IP) []string {
	texts := []string{}
	for _, address := range addresses {
		texts = append(texts, address.String())
	}
	return texts
}

// networksOf writes all networks of the server back, each with network_id or subnet_id as its block has it.
func networksOf(server *hcloud.Server, d *schema.ResourceData) []map[string]any {
	blocks := []map[string]any{}
	for _, private := range server.PrivateNet {
		block := map[string]any{
			"ip": private.IP.String(), "alias_ips": addressTexts(private.Aliases), "mac_address": private.MACAddress,
		}
		for _, item := range d.Get("network").(*schema.Set).List() {
			configured := item.(map[string]any)
			network, _, err := networkOf(configured)
			if err != nil || network.ID != private.Network.ID {
				continue
			}
			block["network_id"] = int(network.ID)
			if subnet, _ := configured["subnet_id"].(string); subnet != "" {
				block["subnet_id"] = subnet
			}
			break
		}
		blocks = append(blocks, block)
	}
	return blocks
}

// checkNetworkBlocks refuses in the plan what could only fail while it is applied.
func checkNetworkBlocks(_ context.Context, d *schema.ResourceDiff, _ any) error {
	if blocks := d.GetRawConfig().GetAttr("network"); blocks.IsWhollyKnown() && !blocks.IsNull() {
		for _, block := range blocks.AsValueSlice() {
			if block.GetAttr("network_id").IsNull() && block.GetAttr("subnet_id").IsNull() {
				return errors.New("must specify either network_id or subnet_id")
			}
		}
	}
	seen := map[int64]bool{}
	for _, item := range d.Get("network").(*schema.Set).List() {
		block := item.(map[string]any)
		network, ipRange, err := networkOf(block)
		if err != nil {
			// Not known before the network is made.
			continue
		}
		if id, _ := block["network_id"].(int); id != 0 && int64(id) != network.ID {
			return fmt.Errorf("subnet_id (%s) does not belong to the specified network_id (%d)", block["subnet_id"], id)
		}
		if address := net.ParseIP(block["ip"].(string)); ipRange != nil && address != nil && !ipRange.Contains(address) {
			return fmt.Errorf("server IP (%s) is outside subnet IP range (%s)", address, ipRange)
		}
		if seen[network.ID] {
			return fmt.Errorf("server is only allowed to be attached to each network once: %d", network.ID)
		}
		seen[network.ID] = true
	}
	return nil
}

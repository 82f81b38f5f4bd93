package main

import (
	"context"
	"fmt"
	"math/rand"

	"github.com/hashicorp/terraform-plugin-sdk/v2/helper/schema"
	"github.com/hetznercloud/hcloud-go/v2/hcloud"
)

// publicNetOf is nil when there is no public_net block: the API's default is both addresses. A named address is
// wanted, whatever the flag beside it says.
func publicNetOf(d *schema.ResourceData) *hcloud.ServerCreatePublicNet {
	blocks := d.Get("public_net").(*schema.Set).List()
	if len(blocks) == 0 {
		return nil
	}
	public := &hcloud.ServerCreatePublicNet{}
	for _, item := range blocks {
		v4, v6 := familiesOf(item.(map[string]any))
		public.EnableIPv4, public.EnableIPv6 = v4.enabled || v4.id != 0, v6.enabled || v6.id != 0
		if v4.id != 0 {
			public.IPv4 = &hcloud.PrimaryIP{ID: v4.id}
		}
		if v6.id != 0 {
			public.IPv6 = &hcloud.PrimaryIP{ID: v6.id}
		}
	}
	return public
}

// family is what a public_net block says of IPv4 or of IPv6; id 0: any address.
type family struct {
	enabled bool
	id      int64
}

func familiesOf(block map[string]any) (v4, v6 family) {
	return family{block["ipv4_enabled"].(bool), int64(block["ipv4"].(int))},
		family{block["ipv6_enabled"].(bool), int64(block["ipv6"].(int))}
}

// changePublicNet switches the server off, changes its addresses one after the other, and switches it on again, also
// after most failures.
func changePublicNet(ctx context.Context, client *hcloud.Client, server *hcloud.Server, d *schema.ResourceData) error {
	before, after := d.GetChange("public_net")
	removed := before.(*schema.Set).Difference(after.(*schema.Set)).List()
	added := after.(*schema.Set).Difference(before.(*schema.Set)).List()
	// Without a block both addresses are there.
	oldV4, oldV6 := family{enabled: true}, family{enabled: true}
	for _, item := range removed {
		oldV4, oldV6 = familiesOf(item.(map[string]any))
	}
	if err := finished(ctx, client)(client.Server.Poweroff(ctx, server)); err != nil {
		return err
	}
	v4 := addressChange{client, server, hcloud.PrimaryIPTypeIPv4, server.PublicNet.IPv4.ID, oldV4}
	v6 := addressChange{client, server, hcloud.PrimaryIPTypeIPv6, server.PublicNet.IPv6.ID, oldV6}
	if len(added) == 0 {
		if err := v4.toDefault(ctx); err != nil {
			return err
		}
		if err := v6.toDefault(ctx); err != nil {
			return err
		}
	}
	for _, item := range added {
		newV4, newV6 := familiesOf(item.(map[string]any))
		if err := v4.to(ctx, newV4); err != nil {
			return err
		}
		if err := v6.to(ctx, newV6); err != nil {
			return err
		}
	}
	return powerOn(ctx, client, server)
}

// addressChange is the change of a server's IPv4 or IPv6.
type addressChange struct {
	client *hcloud.Client
	server *hcloud.Server
	kind   hcloud.PrimaryIPType
	// assigned is the id of the address that the server has; 0: none.
	assigned int64
	before   family
}

// toDefault follows the removal of the whole block: a named address goes, a new one of the server's own comes.
func (c addressChange) toDefault(ctx context.Context) error {
	if c.before.id == 0 || c.assigned == 0 {
		return nil
	}
	if c.assigned != c.before.id {
		names := map[hcloud.PrimaryIPType]string{hcloud.PrimaryIPTypeIPv4: "IPv4", hcloud.PrimaryIPTypeIPv6: "IPv6"}
		return fmt.Errorf("Assigned %s changed between plan and apply, please check and generate a new plan", names[c.kind])
	}
	if err := c.unassign(ctx, c.assigned); err != nil {
		return err
	}
	return c.create(ctx)
}

func (c addressChange) to(ctx context.Context, after family) error {
	switch {
	case after.enabled && after.id != 0:
		if c.assigned != 0 {
			// No way back on from here, as in the real provider.
			if err := c.unassign(ctx, c.assigned); err != nil {
				return err
			}
			if err := c.deleteUnnamed(ctx); err != nil {
				return err
			}
		}
		return c.orBackOn(ctx, finished(ctx, c.client)(c.client.PrimaryIP.Assign(ctx, hcloud.PrimaryIPAssignOpts{
			ID: after.id, AssigneeID: c.server.ID, AssigneeType: "server",
		})))
	case after.enabled:
		named := c.before.enabled && c.before.id != 0
		if named {
			if err := c.orBackOn(ctx, c.unassign(ctx, c.before.id)); err != nil {
				return err
			}
		}
		if named || !c.before.enabled && c.before.id == 0 {
			return c.orBackOn(ctx, c.create(ctx))
		}
		return nil
	case after.id != 0:
		return c.orBackOn(ctx, fmt.Errorf("this operation is not allowed: ipv4_enabled = false | ipv4 = %d", after.id))
	case c.assigned != 0:
		if err := c.orBackOn(ctx, c.unassign(ctx, c.assigned)); err != nil {
			return err
		}
		return c.deleteUnnamed(ctx)
	default:
		return nil
	}
}

// deleteUnnamed deletes the address that the server had by default. One that the configuration named stays.
func (c addressChange) deleteUnnamed(ctx context.Context) error {
	if c.before.id != 0 {
		return nil
	}
	_, err := c.client.PrimaryIP.Delete(ctx, &hcloud.PrimaryIP{ID: c.assigned})
	return c.orBackOn(ctx, err)
}

func (c addressChange) unassign(ctx context.Context, id int64) error {
	return finished(ctx, c.client)(c.client.PrimaryIP.Unassign(ctx, id))
}

// create makes an address that lives and dies with the server.
func (c addressChange) create(ctx context.Context) error {
	alsoDeleted := true
	result, _, err := c.client.PrimaryIP.Create(ctx, hcloud.PrimaryIPCreateOpts{
		Name: fmt.Sprintf("primary_ip-%d", 1_000_000+rand.Intn(9_000_000)), Type: c.kind,
		AssigneeID: &c.server.ID, AssigneeType: "server", AutoDelete: &alsoDeleted,
	})
	if err != nil {
		return err
	}
	return waitFor(ctx, c.client, result.Action)
}

// orBackOn switches the server on again if there is an error, and returns that error.
func (c addressChange) orBackOn(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if second := powerOn(ctx, c.client, c.server); second != nil {
		return second
	}
	return err
}

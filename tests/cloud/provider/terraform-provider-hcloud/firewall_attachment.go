package main

import (
	"context"
	"errors"
	"slices"

	"github.com/hashicorp/terraform-plugin-sdk/v2/diag"
	"github.com/hashicorp/terraform-plugin-sdk/v2/helper/schema"
	"github.com/hetznercloud/hcloud-go/v2/hcloud"
)

// firewallAttachmentResource owns all that its firewall is applied to; its id is the firewall's.
func firewallAttachmentResource() *schema.Resource {
	members := func(kind schema.ValueType) *schema.Schema {
		return &schema.Schema{Type: schema.TypeSet, Optional: true, Elem: &schema.Schema{Type: kind}}
	}
	return &schema.Resource{
		CreateContext: createAttachment, ReadContext: readAttachment, UpdateContext: updateAttachment, DeleteContext: deleteAttachment,
		Importer: &schema.ResourceImporter{StateContext: importAttachment},
		Schema: map[string]*schema.Schema{
			"firewall_id":     {Type: schema.TypeInt, Required: true, ForceNew: true},
			"server_ids":      members(schema.TypeInt),
			"label_selectors": members(schema.TypeString),
		},
	}
}

// attached is what a firewall is applied to, in a fixed order.
type attached struct {
	servers   []int64
	selectors []string
}

func attachedInConfig(d *schema.ResourceData) (attached, error) {
	var found attached
	for _, id := range d.Get("server_ids").(*schema.Set).List() {
		found.servers = append(found.servers, int64(id.(int)))
	}
	for _, selector := range d.Get("label_selectors").(*schema.Set).List() {
		found.selectors = append(found.selectors, selector.(string))
	}
	slices.Sort(found.servers)
	slices.Sort(found.selectors)
	if len(found.servers)+len(found.selectors) == 0 {
		return found, errors.New("no resources referenced")
	}
	return found, nil
}

func attachedInCloud(firewall *hcloud.Firewall) attached {
	var found attached
	for _, target := range firewall.AppliedTo {
		switch target.Type {
		case hcloud.FirewallResourceTypeServer:
			found.servers = append(found.servers, target.Server.ID)
		case hcloud.FirewallResourceTypeLabelSelector:
			found.selectors = append(found.selectors, target.LabelSelector.Selector)
		}
	}
	return found
}

// without is what the other does not have; servers come first.
func (a attached) without(other attached) []hcloud.FirewallResource {
	var targets []hcloud.FirewallResource
	for _, id := range a.servers {
		if !slices.Contains(other.servers, id) {
			targets = append(targets, serverTarget(id))
		}
	}
	for _, selector := range a.selectors {
		if !slices.Contains(other.selectors, selector) {
			targets = append(targets, selectorTarget(selector))
		}
	}
	return targets
}

func firewallOf(d *schema.ResourceData) *hcloud.Firewall {
	return &hcloud.Firewall{ID: numberOf(d, "firewall_id")}
}

func createAttachment(ctx context.Context, d *schema.ResourceData, meta any) diag.Diagnostics {
	client := meta.(*hcloud.Client)
	wanted, err := attachedInConfig(d)
	if err != nil {
		return diag.FromErr(err)
	}
	actions, _, err := client.Firewall.ApplyResources(ctx, firewallOf(d), wanted.without(attached{}))
	if err != nil && !hcloud.IsError(err, hcloud.ErrorCodeFirewallAlreadyApplied) {
		return failure(err)
	}
	if err := client.Action.WaitFor(ctx, actions...); err != nil {
		return failure(err)
	}
	return readAttachment(ctx, d, meta)
}

func readAttachment(ctx context.Context, d *schema.ResourceData, meta any) diag.Diagnostics {
	firewall, _, err := meta.(*hcloud.Client).Firewall.GetByID(ctx, firewallOf(d).ID)
	if err != nil {
		return failure(err)
	}
	if firewall == nil {
		d.SetId("")
		return nil
	}
	// The real provider adds what it finds to what it knew: a server that others took away is not missed.
	now := attachedInCloud(firewall)
	servers, selectors := d.Get("server_ids").(*schema.Set), d.Get("label_selectors").(*schema.Set)
	for _, id := range now.servers {
		servers.Add(int(id))
	}
	for _, selector := range now.selectors {
		selectors.Add(selector)
	}
	d.SetId(formatID(firewall.ID))
	return setAll(d, map[string]any{
		"firewall_id": int(firewall.ID), "server_ids": servers, "label_selectors": selectors,
	})
}

// Both requests are made, also when there is nothing to remove or nothing to apply.
func updateAttachment(ctx context.Context, d *schema.ResourceData, meta any) diag.Diagnostics {
	client := meta.(*hcloud.Client)
	wanted, err := attachedInConfig(d)
	if err != nil {
		return diag.FromErr(err)
	}
	firewall, _, err := client.Firewall.GetByID(ctx, firewallOf(d).ID)
	if err != nil {
		return failure(err)
	}
	if firewall == nil {
		d.SetId("")
		return nil
	}
	now := attachedInCloud(firewall)
	removed, _, err := client.Firewall.RemoveResources(ctx, firewall, now.without(wanted))
	if err != nil {
		return failure(err)
	}
	applied, _, err := client.Firewall.ApplyResources(ctx, firewall, wanted.without(now))
	if err != nil {
		return failure(err)
	}
	if err := client.Action.WaitFor(ctx, append(removed, applied...)...); err != nil {
		return failure(err)
	}
	return readAttachment(ctx, d, meta)
}

func deleteAttachment(ctx context.Context, d *schema.ResourceData, meta any) diag.Diagnostics {
	client := meta.(*hcloud.Client)
	present, err := attachedInConfig(d)
	if err != nil {
		return diag.FromErr(err)
	}
	return failure(finishedAll(ctx, client)(client.Firewall.RemoveResources(ctx, firewallOf(d), present.without(attached{}))))
}

func importAttachment(_ context.Context, d *schema.ResourceData, _ any) ([]*schema.ResourceData, error) {
	if id, ok := numericID(d); ok {
		return []*schema.ResourceData{d}, d.Set("firewall_id", int(id))
	}
	return nil, errors.New("the id of a firewall is expected")
}

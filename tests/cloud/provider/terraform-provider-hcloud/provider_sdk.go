package main

import (
	"context"
	"strconv"

	"github.com/hashicorp/terraform-plugin-sdk/v2/diag"
	"github.com/hashicorp/terraform-plugin-sdk/v2/helper/schema"
	"github.com/hetznercloud/hcloud-go/v2/hcloud"
)

func newSDKProvider() *schema.Provider {
	optional := func() *schema.Schema { return &schema.Schema{Type: schema.TypeString, Optional: true} }
	token := optional()
	token.Sensitive = true
	return &schema.Provider{
		Schema: map[string]*schema.Schema{
			"token":            token,
			"endpoint":         optional(),
			"endpoint_hetzner": optional(),
			"poll_interval":    optional(),
			"poll_function":    optional(),
		},
		ResourcesMap: map[string]*schema.Resource{
			"hcloud_firewall":        firewallResource(),
			"hcloud_network":         networkResource(),
			"hcloud_network_subnet":  networkSubnetResource(),
			"hcloud_placement_group": placementGroupResource(),
			"hcloud_server":          serverResource(),
		},
		ConfigureContextFunc: func(_ context.Context, d *schema.ResourceData) (any, diag.Diagnostics) {
			text := func(name string) string { return d.Get(name).(string) }
			client, err := settings{
				token: text("token"), endpoint: text("endpoint"), endpointHetzner: text("endpoint_hetzner"),
				pollInterval: text("poll_interval"), pollFunction: text("poll_function"),
			}.client()
			if err != nil {
				return nil, diag.FromErr(err)
			}
			return client, nil
		},
	}
}

// numericID of an SDK resource; their ids are decimal strings.
func numericID(d *schema.ResourceData) (int64, diag.Diagnostics) {
	id, err := strconv.ParseInt(d.Id(), 10, 64)
	if err != nil {
		return 0, diag.Errorf("invalid id %q", d.Id())
	}
	return id, nil
}

func formatID(id int64) string { return strconv.FormatInt(id, 10) }

// labelsOf reads the labels of the configuration; nil when there are none, so that the request has no labels either.
func labelsOf(d *schema.ResourceData) map[string]string {
	value, ok := d.GetOk("labels")
	if !ok {
		return nil
	}
	labels := map[string]string{}
	for key, text := range value.(map[string]any) {
		labels[key] = text.(string)
	}
	return labels
}

// changedLabels is the whole new map for a PUT: an empty one when all were removed.
func changedLabels(d *schema.ResourceData) map[string]string {
	if labels := labelsOf(d); labels != nil {
		return labels
	}
	return map[string]string{}
}

func labelsSchema(computed bool) *schema.Schema {
	return &schema.Schema{
		Type: schema.TypeMap, Optional: true, Computed: computed,
		Elem:             &schema.Schema{Type: schema.TypeString},
		ValidateDiagFunc: labelsValid,
	}
}

// setAll writes attributes into the state; the SDK reports a wrong name or type here.
func setAll(d *schema.ResourceData, values map[string]any) diag.Diagnostics {
	for name, value := range values {
		if err := d.Set(name, value); err != nil {
			return diag.FromErr(err)
		}
	}
	return nil
}

// waitFor polls the actions one after the other, as the real provider does (one list call each).
func waitFor(ctx context.Context, client *hcloud.Client, actions ...*hcloud.Action) error {
	for _, action := range actions {
		if err := client.Action.WaitFor(ctx, action); err != nil {
			return err
		}
	}
	return nil
}

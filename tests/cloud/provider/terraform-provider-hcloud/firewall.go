package main

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/hashicorp/terraform-plugin-sdk/v2/diag"
	"github.com/hashicorp/terraform-plugin-sdk/v2/helper/schema"
	"github.com/hetznercloud/hcloud-go/v2/hcloud"
)

func firewallResource() *schema.Resource {
	cidrs := &schema.Schema{Type: schema.TypeSet, Optional: true, Elem: &schema.Schema{Type: schema.TypeString}}
	return &schema.Resource{
		CreateContext: createFirewall, ReadContext: readFirewall, UpdateContext: updateFirewall, DeleteContext: deleteFirewall,
		Importer: &schema.ResourceImporter{StateContext: schema.ImportStatePassthroughContext},
		Schema: map[string]*schema.Schema{
			"name":   {Type: schema.TypeString, Required: true},
			"labels": labelsSchema(true),
			"rule": {Type: schema.TypeSet, Optional: true, Elem: &schema.Resource{Schema: map[string]*schema.Schema{
				"direction":       {Type: schema.TypeString, Required: true},
				"protocol":        {Type: schema.TypeString, Required: true},
				"port":            {Type: schema.TypeString, Optional: true},
				"source_ips":      cidrs,
				"destination_ips": cidrs,
			}}},
			// Computed: what a server's firewall_ids did shows here as drift and never as a change to make.
			"apply_to": {Type: schema.TypeSet, Optional: true, Computed: true, ConfigMode: schema.SchemaConfigModeBlock,
				Elem: &schema.Resource{Schema: map[string]*schema.Schema{
					"label_selector": {Type: schema.TypeString, Optional: true, Computed: true},
					"server":         {Type: schema.TypeInt, Optional: true, Computed: true},
				}}},
		},
	}
}

func createFirewall(ctx context.Context, d *schema.ResourceData, meta any) diag.Diagnostics {
	client := meta.(*hcloud.Client)
	rules, err := rulesOf(d)
	if err != nil {
		return failure(err)
	}
	result, _, err := client.Firewall.Create(ctx, hcloud.FirewallCreateOpts{
		Name: d.Get("name").(string), Labels: labelsOf(d), Rules: rules,
		ApplyTo: resourcesOf(d.Get("apply_to").(*schema.Set)),
	})
	if err != nil {
		return failure(err)
	}
	// Recorded: unlike a server, a firewall gets its id only after the wait.
	if err := waitFor(ctx, client, result.Actions...); err != nil {
		return failure(err)
	}
	d.SetId(formatID(result.Firewall.ID))
	return readFirewall(ctx, d, meta)
}

func readFirewall(ctx context.Context, d *schema.ResourceData, meta any) diag.Diagnostics {
	client := meta.(*hcloud.Client)
	firewall, _, err := client.Firewall.Get(ctx, d.Id())
	if err != nil {
		return failure(err)
	}
	if firewall == nil {
		d.SetId("")
		return nil
	}
	d.SetId(formatID(firewall.ID))
	rules := []map[string]any{}
	for _, rule := range firewall.Rules {
		block := map[string]any{
			"direction": string(rule.Direction), "protocol": string(rule.Protocol),
			"source_ips": texts(rule.SourceIPs), "destination_ips": texts(rule.DestinationIPs),
		}
		if rule.Port != nil {
			block["port"] = *rule.Port
		}
		rules = append(rules, block)
	}
	applied := []map[string]any{}
	for _, resource := range firewall.AppliedTo {
		switch {
		case resource.Server != nil:
			applied = append(applied, map[string]any{"server": int(resource.Server.ID)})
		case resource.LabelSelector != nil:
			applied = append(applied, map[string]any{"label_selector": resource.LabelSelector.Selector})
		}
	}
	return setAll(d, map[string]any{
		"name": firewall.Name, "labels": firewall.Labels, "rule": rules, "apply_to": applied,
	})
}

func updateFirewall(ctx context.Context, d *schema.ResourceData, meta any) diag.Diagnostics {
	client := meta.(*hcloud.Client)
	id, problem := numericID(d)
	if problem != nil {
		return problem
	}
	firewall := &hcloud.Firewall{ID: id}
	if d.HasChange("name") {
		if _, _, err := client.Firewall.Update(ctx, firewall, hcloud.FirewallUpdateOpts{Name: d.Get("name").(string)}); err != nil {
			return failure(err)
		}
	}
	if d.HasChange("labels") {
		if _, _, err := client.Firewall.Update(ctx, firewall, hcloud.FirewallUpdateOpts{Labels: changedLabels(d)}); err != nil {
			return failure(err)
		}
	}
	if d.HasChange("rule") {
		rules, err := rulesOf(d)
		if err != nil {
			return failure(err)
		}
		actions, _, err := client.Firewall.SetRules(ctx, firewall, hcloud.FirewallSetRulesOpts{Rules: rules})
		if err != nil {
			return failure(err)
		}
		if err := waitFor(ctx, client, actions...); err != nil {
			return failure(err)
		}
	}
	if d.HasChange("apply_to") {
		before, after := d.GetChange("apply_to")
		removed := before.(*schema.Set).Difference(after.(*schema.Set))
		added := after.(*schema.Set).Difference(before.(*schema.Set))
		if err := detachFirewall(ctx, client, firewall, resourcesOf(removed)); err != nil {
			return failure(err)
		}
		if resources := resourcesOf(added); len(resources) > 0 {
			actions, _, err := client.Firewall.ApplyResources(ctx, firewall, resources)
			if err != nil {
				return failure(err)
			}
			if err := waitFor(ctx, client, actions...); err != nil {
				return failure(err)
			}
		}
	}
	return readFirewall(ctx, d, meta)
}

func deleteFirewall(ctx context.Context, d *schema.ResourceData, meta any) diag.Diagnostics {
	client := meta.(*hcloud.Client)
	id, problem := numericID(d)
	if problem != nil {
		return problem
	}
	firewall, _, err := client.Firewall.GetByID(ctx, id)
	if err != nil {
		return failure(err)
	}
	if firewall == nil {
		return nil
	}
	if err := detachFirewall(ctx, client, firewall, firewall.AppliedTo); err != nil {
		return failure(err)
	}
	// A firewall stays in use for a moment after the last server has gone.
	return failure(retried(ctx, 10, func() error {
		_, err := client.Firewall.Delete(ctx, firewall)
		if hcloud.IsError(err, hcloud.ErrorCodeNotFound) {
			return nil
		}
		return err
	}, hcloud.ErrorCodeConflict, hcloud.ErrorCodeResourceInUse))
}

func detachFirewall(ctx context.Context, client *hcloud.Client, firewall *hcloud.Firewall, from []hcloud.FirewallResource) error {
	if len(from) == 0 {
		return nil
	}
	actions, _, err := client.Firewall.RemoveResources(ctx, firewall, from)
	if err != nil {
		return err
	}
	return waitFor(ctx, client, actions...)
}

// retried repeats a call that fails with one of the codes, one second apart.
func retried(ctx context.Context, tries int, call func() error, codes ...hcloud.ErrorCode) error {
	for {
		err := call()
		tries--
		if err == nil || tries == 0 || !hcloud.IsError(err, codes...) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Second):
		}
	}
}

func resourcesOf(set *schema.Set) []hcloud.FirewallResource {
	var resources []hcloud.FirewallResource
	for _, item := range set.List() {
		block := item.(map[string]any)
		if id, _ := block["server"].(int); id != 0 {
			resources = append(resources, hcloud.FirewallResource{
				Type: hcloud.FirewallResourceTypeServer, Server: &hcloud.FirewallResourceServer{ID: int64(id)},
			})
		} else if selector, _ := block["label_selector"].(string); selector != "" {
			resources = append(resources, hcloud.FirewallResource{
				Type: hcloud.FirewallResourceTypeLabelSelector, LabelSelector: &hcloud.FirewallResourceLabelSelector{Selector: selector},
			})
		}
	}
	return resources
}

func rulesOf(d *schema.ResourceData) ([]hcloud.FirewallRule, error) {
	rules := []hcloud.FirewallRule{}
	for _, item := range d.Get("rule").(*schema.Set).List() {
		block := item.(map[string]any)
		rule := hcloud.FirewallRule{
			Direction: hcloud.FirewallRuleDirection(block["direction"].(string)),
			Protocol:  hcloud.FirewallRuleProtocol(block["protocol"].(string)),
		}
		if port := block["port"].(string); port != "" {
			rule.Port = &port
		}
		var err error
		if rule.SourceIPs, err = networksFrom(block["source_ips"].(*schema.Set)); err != nil {
			return nil, err
		}
		if rule.DestinationIPs, err = networksFrom(block["destination_ips"].(*schema.Set)); err != nil {
			return nil, err
		}
		rules = append(rules, rule)
	}
	return rules, nil
}

func networksFrom(set *schema.Set) ([]net.IPNet, error) {
	var networks []net.IPNet
	for _, item := range set.List() {
		_, network, err := net.ParseCIDR(item.(string))
		if err != nil {
			return nil, fmt.Errorf("firewall rule: %w", err)
		}
		networks = append(networks, *network)
	}
	return networks, nil
}

func texts(networks []net.IPNet) []string {
	result := []string{}
	for _, network := range networks {
		result = append(result, network.String())
	}
	return result
}

package main

import (
	"context"
	"errors"

	"github.com/hashicorp/terraform-plugin-sdk/v2/diag"
	"github.com/hashicorp/terraform-plugin-sdk/v2/helper/schema"
	"github.com/hetznercloud/hcloud-go/v2/hcloud"
)

func firewallResource() *schema.Resource {
	return &schema.Resource{
		CreateContext: createFirewall, ReadContext: readFirewall, UpdateContext: updateFirewall, DeleteContext: deleteFirewall,
		Importer: &schema.ResourceImporter{StateContext: schema.ImportStatePassthroughContext},
		Schema: map[string]*schema.Schema{
			"name":   {Type: schema.TypeString, Required: true},
			"labels": labelsSchema(true),
			"rule":   {Type: schema.TypeSet, Optional: true, Elem: &schema.Resource{Schema: firewallRuleSchema()}},
			// Computed: what a server's firewall_ids did shows here as drift and never as a change to make.
			"apply_to": {Type: schema.TypeSet, Optional: true, Computed: true, DiffSuppressFunc: unlessConfigured("apply_to"),
				Elem: &schema.Resource{Schema: map[string]*schema.Schema{
					"label_selector": {Type: schema.TypeString, Optional: true, Computed: true},
					"server":         {Type: schema.TypeInt, Optional: true, Computed: true},
				}}},
		},
	}
}

// unlessConfigured keeps blocks that others made from being planned away by a configuration that has none.
func unlessConfigured(name string) schema.SchemaDiffSuppressFunc {
	return func(_, _, _ string, d *schema.ResourceData) bool {
		_, configured := d.GetOk(name)
		return !configured
	}
}

func createFirewall(ctx context.Context, d *schema.ResourceData, meta any) diag.Diagnostics {
	client := meta.(*hcloud.Client)
	result, _, err := client.Firewall.Create(ctx, hcloud.FirewallCreateOpts{
		Name: d.Get("name").(string), Labels: labelsOf(d), Rules: rulesOf(d),
		ApplyTo: targetsOf(d.Get("apply_to").(*schema.Set)),
	})
	if err != nil {
		return failure(err)
	}
	// Recorded: unlike a server, a firewall gets its id only after the wait.
	if err := client.Action.WaitFor(ctx, result.Actions...); err != nil {
		return failure(err)
	}
	d.SetId(formatID(result.Firewall.ID))
	return readFirewall(ctx, d, meta)
}

func readFirewall(ctx context.Context, d *schema.ResourceData, meta any) diag.Diagnostics {
	id, ok := numericID(d)
	if !ok {
		return nil
	}
	firewall, _, err := meta.(*hcloud.Client).Firewall.GetByID(ctx, id)
	if err != nil {
		return failure(err)
	}
	if firewall == nil {
		d.SetId("")
		return nil
	}
	rules := []map[string]any{}
	for _, rule := range firewall.Rules {
		rules = append(rules, ruleBlock(rule))
	}
	applied := []map[string]any{}
	for _, target := range firewall.AppliedTo {
		switch target.Type {
		case hcloud.FirewallResourceTypeServer:
			applied = append(applied, map[string]any{"server": int(target.Server.ID)})
		case hcloud.FirewallResourceTypeLabelSelector:
			applied = append(applied, map[string]any{"label_selector": target.LabelSelector.Selector})
		}
	}
	return setAll(d, map[string]any{
		"name": firewall.Name, "labels": firewall.Labels, "rule": rules, "apply_to": applied,
	})
}

func updateFirewall(ctx context.Context, d *schema.ResourceData, meta any) diag.Diagnostics {
	client := meta.(*hcloud.Client)
	id, ok := numericID(d)
	if !ok {
		return nil
	}
	firewall, _, err := client.Firewall.GetByID(ctx, id)
	if err != nil {
		return failure(err)
	}
	if firewall == nil {
		d.SetId("")
		return nil
	}
	update := func(options hcloud.FirewallUpdateOpts) error {
		_, _, err := client.Firewall.Update(ctx, firewall, options)
		return err
	}
	// The real provider leaves the rules as they are when the last rule block goes.
	_, hasRules := d.GetOk("rule")
	problem, done := takeSteps(d,
		step{d.HasChange("name"), true, func() error {
			return update(hcloud.FirewallUpdateOpts{Name: d.Get("name").(string)})
		}},
		step{d.HasChange("rule") && hasRules, true, func() error {
			return finishedAll(ctx, client)(client.Firewall.SetRules(ctx, firewall, hcloud.FirewallSetRulesOpts{Rules: rulesOf(d)}))
		}},
		step{d.HasChange("labels"), true, func() error {
			return update(hcloud.FirewallUpdateOpts{Labels: changedLabels(d)})
		}},
		step{d.HasChange("apply_to"), false, func() error { return changeTargets(ctx, client, firewall, d) }},
	)
	if !done {
		return problem
	}
	return readFirewall(ctx, d, meta)
}

func changeTargets(ctx context.Context, client *hcloud.Client, firewall *hcloud.Firewall, d *schema.ResourceData) error {
	before, after := d.GetChange("apply_to")
	if left := targetsOf(before.(*schema.Set).Difference(after.(*schema.Set))); len(left) > 0 {
		err := finishedAll(ctx, client)(client.Firewall.RemoveResources(ctx, firewall, left))
		if err != nil && !hcloud.IsError(err, hcloud.ErrorCodeFirewallResourceNotFound) {
			return err
		}
	}
	if joined := targetsOf(after.(*schema.Set).Difference(before.(*schema.Set))); len(joined) > 0 {
		return finishedAll(ctx, client)(client.Firewall.ApplyResources(ctx, firewall, joined))
	}
	return nil
}

func deleteFirewall(ctx context.Context, d *schema.ResourceData, meta any) diag.Diagnostics {
	client := meta.(*hcloud.Client)
	id, ok := numericID(d)
	if !ok {
		return nil
	}
	firewall, _, err := client.Firewall.GetByID(ctx, id)
	if err != nil || firewall == nil {
		return failure(err)
	}
	if len(firewall.AppliedTo) > 0 {
		err := finishedAll(ctx, client)(client.Firewall.RemoveResources(ctx, firewall, firewall.AppliedTo))
		if err != nil && !hcloud.IsError(err, hcloud.ErrorCodeFirewallResourceNotFound, hcloud.ErrorCodeNotFound) {
			return failure(err)
		}
	}
	// A firewall stays in use for a moment after the last server has gone.
	inUse := withCode(hcloud.ErrorCodeConflict, hcloud.ErrorCodeResourceInUse)
	err = retried(ctx, 2*usualTries, inUse, func() error {
		_, err := client.Firewall.Delete(ctx, firewall)
		return err
	})
	// The real provider takes a deletion whose answer was no API error (a cut connection) for done.
	var apiError hcloud.Error
	if !errors.As(err, &apiError) || apiError.Code == hcloud.ErrorCodeNotFound {
		return nil
	}
	return failure(err)
}

func serverTarget(id int64) hcloud.FirewallResource {
	return hcloud.FirewallResource{Type: hcloud.FirewallResourceTypeServer, Server: &hcloud.FirewallResourceServer{ID: id}}
}

func selectorTarget(selector string) hcloud.FirewallResource {
	return hcloud.FirewallResource{
		Type: hcloud.FirewallResourceTypeLabelSelector, LabelSelector: &hcloud.FirewallResourceLabelSelector{Selector: selector},
	}
}

func targetsOf(blocks *schema.Set) []hcloud.FirewallResource {
	var targets []hcloud.FirewallResource
	for _, item := range blocks.List() {
		block := item.(map[string]any)
		if selector, _ := block["label_selector"].(string); selector != "" {
			targets = append(targets, selectorTarget(selector))
		} else if id, _ := block["server"].(int); id != 0 {
			targets = append(targets, serverTarget(int64(id)))
		}
	}
	return targets
}

package main

import (
	"context"
	"net"

	"github.com/hashicorp/terraform-plugin-sdk/v2/diag"
	"github.com/hashicorp/terraform-plugin-sdk/v2/helper/schema"
	"github.com/hashicorp/terraform-plugin-sdk/v2/helper/validation"
	"github.com/hetznercloud/hcloud-go/v2/hcloud"
)

func networkResource() *schema.Resource {
	return &schema.Resource{
		CreateContext: createNetwork, ReadContext: readNetwork, UpdateContext: updateNetwork, DeleteContext: deleteNetwork,
		Importer: &schema.ResourceImporter{StateContext: schema.ImportStatePassthroughContext},
		Schema: map[string]*schema.Schema{
			"name":                     {Type: schema.TypeString, Required: true},
			"ip_range":                 {Type: schema.TypeString, Required: true, ForceNew: true, ValidateFunc: validation.IsCIDR},
			"labels":                   labelsSchema(false),
			"delete_protection":        {Type: schema.TypeBool, Optional: true, Default: false},
			"expose_routes_to_vswitch": {Type: schema.TypeBool, Optional: true, Default: false},
		},
	}
}

func createNetwork(ctx context.Context, d *schema.ResourceData, meta any) diag.Diagnostics {
	client := meta.(*hcloud.Client)
	_, ipRange, err := net.ParseCIDR(d.Get("ip_range").(string))
	if err != nil {
		return failure(err)
	}
	network, _, err := client.Network.Create(ctx, hcloud.NetworkCreateOpts{
		Name: d.Get("name").(string), IPRange: ipRange, Labels: labelsOf(d),
		ExposeRoutesToVSwitch: d.Get("expose_routes_to_vswitch").(bool),
	})
	if err != nil {
		return failure(err)
	}
	d.SetId(formatID(network.ID))
	if d.Get("delete_protection").(bool) {
		if err := protectNetwork(ctx, client, network, true); err != nil {
			return failure(err)
		}
	}
	return readNetwork(ctx, d, meta)
}

func protectNetwork(ctx context.Context, client *hcloud.Client, network *hcloud.Network, on bool) error {
	return finished(ctx, client)(client.Network.ChangeProtection(ctx, network, hcloud.NetworkChangeProtectionOpts{Delete: &on}))
}

// presentNetwork looks a network up as the real provider does: after a 404 by the id as if it were a name. Without a network
// the resource is taken out of the state.
func presentNetwork(ctx context.Context, d *schema.ResourceData, client *hcloud.Client) (*hcloud.Network, error) {
	network, _, err := client.Network.Get(ctx, d.Id())
	if err == nil && network == nil {
		d.SetId("")
	}
	return network, err
}

func readNetwork(ctx context.Context, d *schema.ResourceData, meta any) diag.Diagnostics {
	network, err := presentNetwork(ctx, d, meta.(*hcloud.Client))
	if err != nil || network == nil {
		return failure(err)
	}
	d.SetId(formatID(network.ID))
	return setAll(d, map[string]any{
		"name": network.Name, "ip_range": network.IPRange.String(), "labels": network.Labels,
		"delete_protection": network.Protection.Delete, "expose_routes_to_vswitch": network.ExposeRoutesToVSwitch,
	})
}

func updateNetwork(ctx context.Context, d *schema.ResourceData, meta any) diag.Diagnostics {
	client := meta.(*hcloud.Client)
	network, err := presentNetwork(ctx, d, client)
	if err != nil || network == nil {
		return failure(err)
	}
	update := func(options hcloud.NetworkUpdateOpts) error {
		_, _, err := client.Network.Update(ctx, network, options)
		return err
	}
	problem, done := takeSteps(d,
		step{d.HasChange("name"), true, func() error {
			return update(hcloud.NetworkUpdateOpts{Name: d.Get("name").(string)})
		}},
		step{d.HasChange("labels"), true, func() error {
			return update(hcloud.NetworkUpdateOpts{Labels: changedLabels(d)})
		}},
		step{d.HasChange("expose_routes_to_vswitch"), true, func() error {
			expose := d.Get("expose_routes_to_vswitch").(bool)
			return update(hcloud.NetworkUpdateOpts{ExposeRoutesToVSwitch: &expose})
		}},
		step{d.HasChange("delete_protection"), false, func() error {
			return protectNetwork(ctx, client, network, d.Get("delete_protection").(bool))
		}},
	)
	if !done {
		return problem
	}
	return readNetwork(ctx, d, meta)
}

func deleteNetwork(ctx context.Context, d *schema.ResourceData, meta any) diag.Diagnostics {
	id, ok := numericID(d)
	if !ok {
		return nil
	}
	_, err := meta.(*hcloud.Client).Network.Delete(ctx, &hcloud.Network{ID: id})
	if hcloud.IsError(err, hcloud.ErrorCodeNotFound) {
		return nil
	}
	return failure(err)
}

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

func networkResource() *schema.Resource {
	return &schema.Resource{
		CreateContext: createNetwork, ReadContext: readNetwork, UpdateContext: updateNetwork, DeleteContext: deleteNetwork,
		Importer: &schema.ResourceImporter{StateContext: schema.ImportStatePassthroughContext},
		Schema: map[string]*schema.Schema{
			"name":                     {Type: schema.TypeString, Required: true},
			"ip_range":                 {Type: schema.TypeString, Required: true, ForceNew: true},
			"labels":                   labelsSchema(false),
			"delete_protection":        {Type: schema.TypeBool, Optional: true},
			"expose_routes_to_vswitch": {Type: schema.TypeBool, Optional: true},
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
	action, _, err := client.Network.ChangeProtection(ctx, network, hcloud.NetworkChangeProtectionOpts{Delete: &on})
	if err != nil {
		return err
	}
	return waitFor(ctx, client, action)
}

func readNetwork(ctx context.Context, d *schema.ResourceData, meta any) diag.Diagnostics {
	network, _, err := meta.(*hcloud.Client).Network.Get(ctx, d.Id())
	if err != nil {
		return failure(err)
	}
	if network == nil {
		d.SetId("")
		return nil
	}
	d.SetId(formatID(network.ID))
	return setAll(d, map[string]any{
		"name": network.Name, "ip_range": network.IPRange.String(), "labels": network.Labels,
		"delete_protection": network.Protection.Delete, "expose_routes_to_vswitch": network.ExposeRoutesToVSwitch,
	})
}

func updateNetwork(ctx context.Context, d *schema.ResourceData, meta any) diag.Diagnostics {
	client := meta.(*hcloud.Client)
	id, problem := numericID(d)
	if problem != nil {
		return problem
	}
	network := &hcloud.Network{ID: id}
	var updates []hcloud.NetworkUpdateOpts
	if d.HasChange("name") {
		updates = append(updates, hcloud.NetworkUpdateOpts{Name: d.Get("name").(string)})
	}
	if d.HasChange("labels") {
		updates = append(updates, hcloud.NetworkUpdateOpts{Labels: changedLabels(d)})
	}
	if d.HasChange("expose_routes_to_vswitch") {
		updates = append(updates, hcloud.NetworkUpdateOpts{ExposeRoutesToVSwitch: hcloud.Ptr(d.Get("expose_routes_to_vswitch").(bool))})
	}
	for _, update := range updates {
		if _, _, err := client.Network.Update(ctx, network, update); err != nil {
			return failure(err)
		}
	}
	if d.HasChange("delete_protection") {
		if err := protectNetwork(ctx, client, network, d.Get("delete_protection").(bool)); err != nil {
			return failure(err)
		}
	}
	return readNetwork(ctx, d, meta)
}

func deleteNetwork(ctx context.Context, d *schema.ResourceData, meta any) diag.Diagnostics {
	id, problem := numericID(d)
	if problem != nil {
		return problem
	}
	_, err := meta.(*hcloud.Client).Network.Delete(ctx, &hcloud.Network{ID: id})
	if hcloud.IsError(err, hcloud.ErrorCodeNotFound) {
		return nil
	}
	return failure(err)
}

func networkSubnetResource() *schema.Resource {
	fixed := func(kind schema.ValueType, required bool) *schema.Schema {
		return &schema.Schema{Type: kind, Required: required, Optional: !required, ForceNew: true}
	}
	return &schema.Resource{
		CreateContext: createSubnet, ReadContext: readSubnet, DeleteContext: deleteSubnet,
		Importer: &schema.ResourceImporter{StateContext: schema.ImportStatePassthroughContext},
		Schema: map[string]*schema.Schema{
			"network_id":   fixed(schema.TypeInt, true),
			"type":         fixed(schema.TypeString, true),
			"network_zone": fixed(schema.TypeString, true),
			"ip_range":     fixed(schema.TypeString, true),
			"vswitch_id":   fixed(schema.TypeInt, false),
			"gateway":      {Type: schema.TypeString, Computed: true},
		},
	}
}

func createSubnet(ctx context.Context, d *schema.ResourceData, meta any) diag.Diagnostics {
	client := meta.(*hcloud.Client)
	_, ipRange, err := net.ParseCIDR(d.Get("ip_range").(string))
	if err != nil {
		return failure(err)
	}
	network := &hcloud.Network{ID: int64(d.Get("network_id").(int))}
	err = retried(ctx, 10, func() error {
		action, _, err := client.Network.AddSubnet(ctx, network, hcloud.NetworkAddSubnetOpts{Subnet: hcloud.NetworkSubnet{
			Type: hcloud.NetworkSubnetType(d.Get("type").(string)), IPRange: ipRange,
			NetworkZone: hcloud.NetworkZone(d.Get("network_zone").(string)), VSwitchID: int64(d.Get("vswitch_id").(int)),
		}})
		if err != nil {
			return err
		}
		return waitFor(ctx, client, action)
	}, hcloud.ErrorCodeConflict, hcloud.ErrorCodeLocked)
	if err != nil {
		return failure(err)
	}
	d.SetId(fmt.Sprintf("%d-%s", network.ID, ipRange))
	return readSubnet(ctx, d, meta)
}

// subnetOf splits `<network>-<cidr>`.
func subnetOf(id string) (int64, *net.IPNet, error) {
	network, cidr, _ := strings.Cut(id, "-")
	number, err := strconv.ParseInt(network, 10, 64)
	if err != nil {
		return 0, nil, fmt.Errorf("invalid subnet id %q", id)
	}
	_, ipRange, err := net.ParseCIDR(cidr)
	if err != nil {
		return 0, nil, fmt.Errorf("invalid subnet id %q", id)
	}
	return number, ipRange, nil
}

func readSubnet(ctx context.Context, d *schema.ResourceData, meta any) diag.Diagnostics {
	id, ipRange, err := subnetOf(d.Id())
	if err != nil {
		return failure(err)
	}
	network, _, err := meta.(*hcloud.Client).Network.GetByID(ctx, id)
	if err != nil {
		return failure(err)
	}
	if network != nil {
		for _, subnet := range network.Subnets {
			if subnet.IPRange.String() != ipRange.String() {
				continue
			}
			values := map[string]any{
				"network_id": int(id), "type": string(subnet.Type), "network_zone": string(subnet.NetworkZone),
				"ip_range": subnet.IPRange.String(), "gateway": subnet.Gateway.String(),
			}
			if subnet.VSwitchID != 0 {
				values["vswitch_id"] = int(subnet.VSwitchID)
			}
			return setAll(d, values)
		}
	}
	d.SetId("")
	return nil
}

func deleteSubnet(ctx context.Context, d *schema.ResourceData, meta any) diag.Diagnostics {
	client := meta.(*hcloud.Client)
	id, ipRange, err := subnetOf(d.Id())
	if err != nil {
		return failure(err)
	}
	err = retried(ctx, 50, func() error {
		action, _, err := client.Network.DeleteSubnet(ctx, &hcloud.Network{ID: id}, hcloud.NetworkDeleteSubnetOpts{
			Subnet: hcloud.NetworkSubnet{IPRange: ipRange},
		})
		if hcloud.IsError(err, hcloud.ErrorCodeNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		return waitFor(ctx, client, action)
	}, hcloud.ErrorCodeConflict, hcloud.ErrorCodeLocked)
	return failure(err)
}

package main

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"

	"github.com/hashicorp/terraform-plugin-sdk/v2/diag"
	"github.com/hashicorp/terraform-plugin-sdk/v2/helper/schema"
	"github.com/hashicorp/terraform-plugin-sdk/v2/helper/validation"
	"github.com/hetznercloud/hcloud-go/v2/hcloud"
)

func networkSubnetResource() *schema.Resource {
	fixed := func(kind schema.ValueType) *schema.Schema {
		return &schema.Schema{Type: kind, Required: true, ForceNew: true}
	}
	kind := fixed(schema.TypeString)
	kind.ValidateFunc = validation.StringInSlice([]string{"cloud", "server", "vswitch"}, false)
	return &schema.Resource{
		CreateContext: createSubnet, ReadContext: readSubnet, DeleteContext: deleteSubnet,
		Importer: &schema.ResourceImporter{StateContext: schema.ImportStatePassthroughContext},
		Schema: map[string]*schema.Schema{
			"network_id":   fixed(schema.TypeInt),
			"type":         kind,
			"network_zone": fixed(schema.TypeString),
			"ip_range":     fixed(schema.TypeString),
			"vswitch_id":   {Type: schema.TypeInt, Optional: true, ForceNew: true},
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
	network := &hcloud.Network{ID: numberOf(d, "network_id")}
	subnet := hcloud.NetworkSubnet{
		Type: hcloud.NetworkSubnetType(d.Get("type").(string)), IPRange: ipRange,
		NetworkZone: hcloud.NetworkZone(d.Get("network_zone").(string)),
	}
	if subnet.Type == hcloud.NetworkSubnetTypeVSwitch {
		subnet.VSwitchID = numberOf(d, "vswitch_id")
	}
	var action *hcloud.Action
	err = retried(ctx, usualTries, withCode(hcloud.ErrorCodeConflict, hcloud.ErrorCodeVSwitchAlreadyUsed), func() (err error) {
		action, _, err = client.Network.AddSubnet(ctx, network, hcloud.NetworkAddSubnetOpts{Subnet: subnet})
		return err
	})
	if err != nil {
		return failure(err)
	}
	d.SetId(subnetID(network.ID, ipRange))
	if err := waitFor(ctx, client, action); err != nil {
		return failure(err)
	}
	return readSubnet(ctx, d, meta)
}

// subnetID is `<network>-<cidr>`.
func subnetID(network int64, ipRange *net.IPNet) string {
	return fmt.Sprintf("%d-%s", network, ipRange)
}

// parseSubnetID splits what subnetID made.
func parseSubnetID(id string) (*hcloud.Network, *net.IPNet, error) {
	network, cidr, _ := strings.Cut(id, "-")
	number, numberProblem := strconv.ParseInt(network, 10, 64)
	_, ipRange, rangeProblem := net.ParseCIDR(cidr)
	if numberProblem != nil || rangeProblem != nil {
		return nil, nil, fmt.Errorf("unexpected subnet id '%s', expected '$NETWORK_ID-$SUBNET_IP_RANGE'", id)
	}
	return &hcloud.Network{ID: number}, ipRange, nil
}

// findSubnet is nil when the id is none, or network or subnet are gone.
func findSubnet(ctx context.Context, client *hcloud.Client, id string) (*hcloud.Network, *hcloud.NetworkSubnet, error) {
	network, ipRange, err := parseSubnetID(id)
	if err != nil {
		return nil, nil, nil
	}
	network, _, err = client.Network.GetByID(ctx, network.ID)
	if err != nil || network == nil {
		return nil, nil, err
	}
	for _, subnet := range network.Subnets {
		if subnet.IPRange.String() == ipRange.String() {
			return network, &subnet, nil
		}
	}
	return nil, nil, nil
}

func readSubnet(ctx context.Context, d *schema.ResourceData, meta any) diag.Diagnostics {
	network, subnet, err := findSubnet(ctx, meta.(*hcloud.Client), d.Id())
	if err != nil {
		return failure(err)
	}
	if subnet == nil {
		d.SetId("")
		return nil
	}
	d.SetId(subnetID(network.ID, subnet.IPRange))
	values := map[string]any{
		"network_id": int(network.ID), "type": string(subnet.Type), "network_zone": string(subnet.NetworkZone),
		"ip_range": subnet.IPRange.String(), "gateway": subnet.Gateway.String(),
	}
	if subnet.Type == hcloud.NetworkSubnetTypeVSwitch {
		values["vswitch_id"] = int(subnet.VSwitchID)
	}
	return setAll(d, values)
}

// A subnet stays in use for a while after its last server was told to leave, hence the many tries. One that is still
// in use after that is left to the deletion of its network.
func deleteSubnet(ctx context.Context, d *schema.ResourceData, meta any) diag.Diagnostics {
	client := meta.(*hcloud.Client)
	again := func(err error) bool {
		return hcloud.IsError(err, hcloud.ErrorCodeConflict, hcloud.ErrorCodeLocked) || stillAttached(err)
	}
	var action *hcloud.Action
	err := retried(ctx, 10*usualTries, again, func() error {
		network, subnet, err := findSubnet(ctx, client, d.Id())
		if err != nil || subnet == nil {
			return err
		}
		action, _, err = client.Network.DeleteSubnet(ctx, network, hcloud.NetworkDeleteSubnetOpts{Subnet: *subnet})
		return err
	})
	if hcloud.IsError(err, hcloud.ErrorCodeNotFound) || stillAttached(err) {
		return nil
	}
	if err != nil {
		return failure(err)
	}
	return failure(waitFor(ctx, client, action))
}

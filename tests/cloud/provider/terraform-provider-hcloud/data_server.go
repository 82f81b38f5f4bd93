package main

import (
	"context"

	"github.com/hashicorp/terraform-plugin-sdk/v2/diag"
	"github.com/hashicorp/terraform-plugin-sdk/v2/helper/schema"
	"github.com/hetznercloud/hcloud-go/v2/hcloud"
)

func serverDataSource() *schema.Resource {
	told := func(kind schema.ValueType) *schema.Schema { return &schema.Schema{Type: kind, Computed: true} }
	asked := func(kind schema.ValueType) *schema.Schema {
		return &schema.Schema{Type: kind, Optional: true, Computed: true}
	}
	attributes := map[string]*schema.Schema{
		"id": asked(schema.TypeInt), "name": asked(schema.TypeString),
		"datacenter":   {Type: schema.TypeString, Computed: true, Deprecated: datacenterRemoved},
		"labels":       told(schema.TypeMap),
		"firewall_ids": {Type: schema.TypeList, Computed: true, Elem: &schema.Schema{Type: schema.TypeInt}},
		"network": {Type: schema.TypeSet, Optional: true, Elem: &schema.Resource{Schema: map[string]*schema.Schema{
			"network_id":  told(schema.TypeInt),
			"ip":          told(schema.TypeString),
			"alias_ips":   {Type: schema.TypeSet, Computed: true, Elem: &schema.Schema{Type: schema.TypeString}},
			"mac_address": told(schema.TypeString),
		}}},
		"placement_group_id": {Type: schema.TypeInt, Optional: true},
		"primary_disk_size":  told(schema.TypeInt),
		"selector": {Type: schema.TypeString, Optional: true, ConflictsWith: []string{"with_selector"},
			Deprecated: "Please use the with_selector property instead."},
		"with_selector": {Type: schema.TypeString, Optional: true, ConflictsWith: []string{"selector"}},
		"with_status":   {Type: schema.TypeList, Optional: true, Elem: &schema.Schema{Type: schema.TypeString}},
	}
	for _, name := range []string{"server_type", "image", "location", "backup_window", "ipv4_address", "ipv6_address",
		"ipv6_network", "status", "iso", "rescue"} {
		attributes[name] = told(schema.TypeString)
	}
	for _, name := range []string{"backups", "delete_protection", "rebuild_protection"} {
		attributes[name] = told(schema.TypeBool)
	}
	return &schema.Resource{ReadContext: lookUpServer, Schema: attributes}
}

func lookUpServer(ctx context.Context, d *schema.ResourceData, meta any) diag.Diagnostics {
	server, problem := findServer(ctx, d, meta.(*hcloud.Client))
	if problem != nil {
		return problem
	}
	values := serverValues(d, server)
	values["firewall_ids"] = firewallsOf(server)
	values["network"] = networksOf(server, d)
	d.SetId(formatID(server.ID))
	return setAll(d, values)
}

func findServer(ctx context.Context, d *schema.ResourceData, client *hcloud.Client) (*hcloud.Server, diag.Diagnostics) {
	if id := numberOf(d, "id"); id != 0 {
		server, _, err := client.Server.GetByID(ctx, id)
		if err == nil && server == nil {
			return nil, diag.Errorf("no Server found with id %d", id)
		}
		return server, failure(err)
	}
	if name := d.Get("name").(string); name != "" {
		server, _, err := client.Server.GetByName(ctx, name)
		if err == nil && server == nil {
			return nil, diag.Errorf("no Server found with name %s", name)
		}
		return server, failure(err)
	}
	selector := firstOf(d.Get("with_selector").(string), d.Get("selector").(string))
	if selector == "" {
		return nil, diag.Errorf("please specify a id, name or a selector to lookup the Server")
	}
	options := hcloud.ServerListOpts{ListOpts: hcloud.ListOpts{LabelSelector: selector}}
	for _, status := range d.Get("with_status").([]any) {
		options.Status = append(options.Status, hcloud.ServerStatus(status.(string)))
	}
	servers, err := client.Server.AllWithOpts(ctx, options)
	switch {
	case err != nil:
		return nil, failure(err)
	case len(servers) == 0:
		return nil, diag.Errorf("no Server found for selector %q", selector)
	case len(servers) > 1:
		return nil, diag.Errorf("more than one Server found for selector %q", selector)
	default:
		return servers[0], nil
	}
}

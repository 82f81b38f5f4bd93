package main

import (
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"strings"
	"time"

	"github.com/hashicorp/go-cty/cty"
	"github.com/hashicorp/terraform-plugin-sdk/v2/diag"
	"github.com/hashicorp/terraform-plugin-sdk/v2/helper/schema"
)

const datacenterRemoved = "The datacenter attribute is marked for removal, you must use the location attribute instead. " +
	"See https://docs.hetzner.cloud/changelog#2026-07-01-removing-datacenters."

func serverResource() *schema.Resource {
	flag := func() *schema.Schema { return &schema.Schema{Type: schema.TypeBool, Optional: true, Default: false} }
	text := func() *schema.Schema { return &schema.Schema{Type: schema.TypeString, Optional: true} }
	computed := func(kind schema.ValueType) *schema.Schema { return &schema.Schema{Type: kind, Computed: true} }
	either := func(kind schema.ValueType) *schema.Schema {
		return &schema.Schema{Type: kind, Optional: true, Computed: true}
	}
	return &schema.Resource{
		CreateContext: createServer, ReadContext: readServer, UpdateContext: updateServer, DeleteContext: deleteServer,
		CustomizeDiff: checkNetworkBlocks,
		Importer:      &schema.ResourceImporter{StateContext: schema.ImportStatePassthroughContext},
		Timeouts:      &schema.ResourceTimeout{Create: schema.DefaultTimeout(90 * time.Minute)},
		Schema: map[string]*schema.Schema{
			"name":        {Type: schema.TypeString, Required: true},
			"server_type": {Type: schema.TypeString, Required: true},
			"image": {Type: schema.TypeString, Optional: true, Computed: true, ForceNew: true,
				ValidateFunc: func(value any, key string) ([]string, []error) {
					if value != "" {
						return nil, nil
					}
					return nil, []error{fmt.Errorf("%q must have more than 0 characters. Have you set the name instead of an ID?", key)}
				}},
			"location": {Type: schema.TypeString, Optional: true, Computed: true, ForceNew: true},
			"datacenter": {Type: schema.TypeString, Optional: true, Computed: true, Deprecated: datacenterRemoved,
				ValidateDiagFunc: func(_ any, path cty.Path) diag.Diagnostics {
					return diag.Diagnostics{{
						Severity: diag.Error, Summary: "Removed Attribute", Detail: datacenterRemoved, AttributePath: path,
					}}
				}},
			"user_data": {Type: schema.TypeString, Optional: true, ForceNew: true, DiffSuppressFunc: sameUserData,
				StateFunc: func(value any) string { return userDataHash(value.(string)) }},
			"ssh_keys": {Type: schema.TypeList, Optional: true, ForceNew: true, Elem: &schema.Schema{Type: schema.TypeString,
				ValidateDiagFunc: func(value any, _ cty.Path) diag.Diagnostics {
					if value != "" {
						return nil
					}
					return diag.Errorf("Invalid ssh key passed. You need to pass a string with at least 1 character")
				}}},
			"labels": labelsSchema(false),
			"firewall_ids": {Type: schema.TypeSet, Optional: true, Computed: true, Elem: &schema.Schema{Type: schema.TypeInt},
				DiffSuppressFunc: func(_, before, after string, d *schema.ResourceData) bool {
					return d.Get("ignore_remote_firewall_ids").(bool) && before != "" && after != ""
				}},
			"ignore_remote_firewall_ids": flag(),
			"placement_group_id":         {Type: schema.TypeInt, Optional: true},
			"keep_disk":                  flag(),
			"backups":                    flag(),
			"iso":                        text(),
			"rescue":                     text(),
			"delete_protection":          flag(),
			"rebuild_protection":         flag(),
			"shutdown_before_deletion":   flag(),
			"allow_deprecated_images": {Type: schema.TypeBool, Optional: true,
				Deprecated: "Unused attribute, consider removing it from your configuration."},
			"backup_window": {Type: schema.TypeString, Computed: true,
				Deprecated: "You should remove this property from your terraform configuration."},
			"ipv4_address":      computed(schema.TypeString),
			"ipv6_address":      computed(schema.TypeString),
			"ipv6_network":      computed(schema.TypeString),
			"status":            computed(schema.TypeString),
			"primary_disk_size": computed(schema.TypeInt),
			"public_net": {Type: schema.TypeSet, Optional: true, DiffSuppressFunc: unlessConfigured("public_net"),
				Elem: &schema.Resource{Schema: map[string]*schema.Schema{
					"ipv4_enabled": {Type: schema.TypeBool, Optional: true, Default: true},
					"ipv6_enabled": {Type: schema.TypeBool, Optional: true, Default: true},
					"ipv4":         either(schema.TypeInt),
					"ipv6":         either(schema.TypeInt),
				}}},
			"network": {Type: schema.TypeSet, Optional: true, DiffSuppressFunc: unlessConfigured("network"),
				Elem: &schema.Resource{Schema: map[string]*schema.Schema{
					"network_id":  either(schema.TypeInt),
					"subnet_id":   either(schema.TypeString),
					"ip":          either(schema.TypeString),
					"alias_ips":   {Type: schema.TypeSet, Optional: true, Computed: true, Elem: &schema.Schema{Type: schema.TypeString}},
					"mac_address": computed(schema.TypeString),
				}}},
		},
	}
}

// userDataHash is what the state keeps of user_data.
func userDataHash(text string) string {
	sum := sha1.Sum([]byte(text))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// sameUserData also knows the states of older versions, which kept the text itself. `after` is the hash already.
func sameUserData(_, before, after string, d *schema.ResourceData) bool {
	if after != "" && d.Get("user_data").(string) != "" {
		if _, err := base64.StdEncoding.DecodeString(before); err != nil {
			return userDataHash(before) == after
		}
	}
	return strings.TrimSpace(before) == strings.TrimSpace(after)
}

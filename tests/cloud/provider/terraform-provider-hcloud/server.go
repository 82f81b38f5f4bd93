package main

import (
	"context"
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/terraform-plugin-sdk/v2/diag"
	"github.com/hashicorp/terraform-plugin-sdk/v2/helper/schema"
	"github.com/hetznercloud/hcloud-go/v2/hcloud"
)

func serverResource() *schema.Resource {
	text := func() *schema.Schema { return &schema.Schema{Type: schema.TypeString, Optional: true} }
	flag := func() *schema.Schema { return &schema.Schema{Type: schema.TypeBool, Optional: true} }
	computed := func(kind schema.ValueType) *schema.Schema { return &schema.Schema{Type: kind, Computed: true} }
	numbers := &schema.Schema{Type: schema.TypeSet, Optional: true, Computed: true, Elem: &schema.Schema{Type: schema.TypeInt}}
	either := func(kind schema.ValueType) *schema.Schema {
		return &schema.Schema{Type: kind, Optional: true, Computed: true}
	}
	return &schema.Resource{
		CreateContext: createServer, ReadContext: readServer, UpdateContext: updateServer, DeleteContext: deleteServer,
		Importer: &schema.ResourceImporter{StateContext: schema.ImportStatePassthroughContext},
		Timeouts: &schema.ResourceTimeout{Create: schema.DefaultTimeout(90 * time.Minute)},
		Schema: map[string]*schema.Schema{
			"name":        {Type: schema.TypeString, Required: true},
			"server_type": {Type: schema.TypeString, Required: true},
			"image":       {Type: schema.TypeString, Optional: true, Computed: true, ForceNew: true},
			"location":    {Type: schema.TypeString, Optional: true, Computed: true, ForceNew: true},
			"datacenter": {Type: schema.TypeString, Optional: true, Computed: true, Deprecated: "removed",
				ValidateFunc: func(any, string) ([]string, []error) { return nil, []error{fmt.Errorf("Removed Attribute")} }},
			"user_data": {Type: schema.TypeString, Optional: true, ForceNew: true,
				DiffSuppressFunc: func(_, old, new string, d *schema.ResourceData) bool {
					return old == new || old == userDataHash(strings.TrimSpace(new))
				},
				StateFunc: func(value any) string { return userDataHash(value.(string)) }},
			"ssh_keys":                   {Type: schema.TypeList, Optional: true, ForceNew: true, Elem: &schema.Schema{Type: schema.TypeString}},
			"labels":                     labelsSchema(false),
			"firewall_ids":               numbers,
			"ignore_remote_firewall_ids": flag(),
			"placement_group_id":         {Type: schema.TypeInt, Optional: true},
			"keep_disk":                  flag(),
			"backups":                    flag(),
			"iso":                        text(),
			"rescue":                     text(),
			"delete_protection":          flag(),
			"rebuild_protection":         flag(),
			"shutdown_before_deletion":   flag(),
			"allow_deprecated_images":    {Type: schema.TypeBool, Optional: true, Deprecated: "no effect"},
			"backup_window":              {Type: schema.TypeString, Computed: true, Deprecated: "not used"},
			"ipv4_address":               computed(schema.TypeString),
			"ipv6_address":               computed(schema.TypeString),
			"ipv6_network":               computed(schema.TypeString),
			"status":                     computed(schema.TypeString),
			"primary_disk_size":          computed(schema.TypeInt),
			"public_net": {Type: schema.TypeSet, Optional: true, Elem: &schema.Resource{Schema: map[string]*schema.Schema{
				"ipv4_enabled": {Type: schema.TypeBool, Optional: true, Default: true},
				"ipv6_enabled": {Type: schema.TypeBool, Optional: true, Default: true},
				"ipv4":         either(schema.TypeInt),
				"ipv6":         either(schema.TypeInt),
			}}},
			"network": {Type: schema.TypeSet, Optional: true, Elem: &schema.Resource{Schema: map[string]*schema.Schema{
				"network_id":  either(schema.TypeInt),
				"subnet_id":   either(schema.TypeString),
				"ip":          either(schema.TypeString),
				"alias_ips":   {Type: schema.TypeSet, Optional: true, Computed: true, Elem: &schema.Schema{Type: schema.TypeString}},
				"mac_address": computed(schema.TypeString),
			}}},
		},
		CustomizeDiff: refuseUnsupported,
	}
}

// userDataHash is what the state keeps of user_data.
func userDataHash(text string) string {
	sum := sha1.Sum([]byte(text))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// refuseUnsupported names what this stand-in has in its schema and does not do, instead of ignoring it.
func refuseUnsupported(_ context.Context, d *schema.ResourceDiff, _ any) error {
	for _, name := range []string{"iso", "rescue"} {
		if value, ok := d.GetOk(name); ok && value != "" {
			return fmt.Errorf("the stand-in provider does not support %s", name)
		}
	}
	if d.Id() != "" && d.HasChange("public_net") {
		return fmt.Errorf("the stand-in provider does not support a change of public_net")
	}
	return nil
}

func createServer(ctx context.Context, d *schema.ResourceData, meta any) diag.Diagnostics {
	client := meta.(*hcloud.Client)
	serverType, _, err := client.ServerType.Get(ctx, d.Get("server_type").(string))
	if err != nil {
		return failure(err)
	}
	if serverType == nil {
		return diag.Errorf("server type %s not found", d.Get("server_type"))
	}
	image, err := findImage(ctx, client, d.Get("image").(string), serverType.Architecture)
	if err != nil {
		return failure(err)
	}
	options := hcloud.ServerCreateOpts{
		// Recorded: the type goes out as its name, though it was looked up, and the image as its id.
		Name: d.Get("name").(string), ServerType: &hcloud.ServerType{Name: serverType.Name}, Image: image,
		UserData: d.Get("user_data").(string), Labels: labelsOf(d),
	}
	for _, reference := range d.Get("ssh_keys").([]any) {
		name, _ := reference.(string)
		key, _, err := client.SSHKey.Get(ctx, name)
		if err != nil {
			return failure(err)
		}
		if key == nil {
			return diag.Errorf("SSH key not found: %s", name)
		}
		options.SSHKeys = append(options.SSHKeys, key)
	}
	if location := d.Get("location").(string); location != "" {
		options.Location = &hcloud.Location{Name: location}
	}
	for _, id := range d.Get("firewall_ids").(*schema.Set).List() {
		firewall := hcloud.Firewall{ID: int64(id.(int))}
		options.Firewalls = append(options.Firewalls, &hcloud.ServerCreateFirewall{Firewall: firewall})
	}
	if id, ok := d.GetOk("placement_group_id"); ok {
		group, _, err := client.PlacementGroup.GetByID(ctx, int64(id.(int)))
		if err != nil {
			return failure(err)
		}
		if group == nil {
			return diag.Errorf("placement group not found: %d", id)
		}
		options.PlacementGroup = group
	}
	options.PublicNet = publicNetOf(d)

	result, _, err := client.Server.Create(ctx, options)
	if err != nil {
		return failure(err)
	}
	// Before any waiting: whatever fails from here on leaves the server in the state, tainted.
	d.SetId(formatID(result.Server.ID))
	if err := waitFor(ctx, client, append([]*hcloud.Action{result.Action}, result.NextActions...)...); err != nil {
		return failure(err)
	}
	for _, network := range d.Get("network").(*schema.Set).List() {
		if err := attachToNetwork(ctx, client, result.Server, network.(map[string]any)); err != nil {
			return failure(err)
		}
	}
	if d.Get("backups").(bool) {
		if err := setBackups(ctx, client, result.Server, true); err != nil {
			return failure(err)
		}
	}
	if d.Get("delete_protection").(bool) || d.Get("rebuild_protection").(bool) {
		if err := setProtection(ctx, client, result.Server, d); err != nil {
			return failure(err)
		}
	}
	return readServer(ctx, d, meta)
}

func findImage(ctx context.Context, client *hcloud.Client, reference string, architecture hcloud.Architecture) (*hcloud.Image, error) {
	if id, err := strconv.ParseInt(reference, 10, 64); err == nil {
		image, _, err := client.Image.GetByID(ctx, id)
		if err != nil || image != nil {
			return image, err
		}
	}
	images, _, err := client.Image.List(ctx, hcloud.ImageListOpts{
		Name: reference, Architecture: []hcloud.Architecture{architecture}, IncludeDeprecated: true,
	})
	if err != nil {
		return nil, err
	}
	if len(images) == 0 {
		return nil, fmt.Errorf("image %s for architecture %s not found", reference, architecture)
	}
	return images[0], nil
}

// publicNetOf is nil when there is no public_net block: the API's default is both addresses.
func publicNetOf(d *schema.ResourceData) *hcloud.ServerCreatePublicNet {
	blocks := d.Get("public_net").(*schema.Set).List()
	if len(blocks) == 0 {
		return nil
	}
	block := blocks[0].(map[string]any)
	public := &hcloud.ServerCreatePublicNet{
		EnableIPv4: block["ipv4_enabled"].(bool), EnableIPv6: block["ipv6_enabled"].(bool),
	}
	if id := block["ipv4"].(int); id != 0 {
		public.IPv4 = &hcloud.PrimaryIP{ID: int64(id)}
	}
	if id := block["ipv6"].(int); id != 0 {
		public.IPv6 = &hcloud.PrimaryIP{ID: int64(id)}
	}
	return public
}

func readServer(ctx context.Context, d *schema.ResourceData, meta any) diag.Diagnostics {
	client := meta.(*hcloud.Client)
	// Get, not GetByID: like the real provider this asks for a server *named* like the id after a 404.
	server, _, err := client.Server.Get(ctx, d.Id())
	if err != nil {
		return failure(err)
	}
	if server == nil {
		d.SetId("")
		return nil
	}
	d.SetId(formatID(server.ID))
	values := map[string]any{
		"name": server.Name, "server_type": server.ServerType.Name, "status": string(server.Status),
		"labels": server.Labels, "backup_window": server.BackupWindow, "backups": server.BackupWindow != "",
		"delete_protection": server.Protection.Delete, "rebuild_protection": server.Protection.Rebuild,
		"primary_disk_size": server.PrimaryDiskSize, "placement_group_id": 0,
		"ipv4_address": "", "ipv6_address": "", "ipv6_network": "",
	}
	if server.Location != nil {
		values["location"] = server.Location.Name
	}
	if server.PlacementGroup != nil {
		values["placement_group_id"] = int(server.PlacementGroup.ID)
	}
	if !server.PublicNet.IPv4.IsUnspecified() {
		values["ipv4_address"] = server.PublicNet.IPv4.IP.String()
	}
	if !server.PublicNet.IPv6.IsUnspecified() {
		values["ipv6_address"] = server.PublicNet.IPv6.IP.String() + "1"
		values["ipv6_network"] = server.PublicNet.IPv6.Network.String()
	}
	if server.Image != nil {
		byID := formatID(server.Image.ID)
		values["image"] = byID
		if server.Image.Name != "" && d.Get("image").(string) != byID {
			values["image"] = server.Image.Name
		}
	}
	if !d.Get("ignore_remote_firewall_ids").(bool) {
		firewalls := []int{}
		for _, status := range server.PublicNet.Firewalls {
			firewalls = append(firewalls, int(status.Firewall.ID))
		}
		values["firewall_ids"] = firewalls
	}
	if configured := d.Get("network").(*schema.Set); configured.Len() > 0 {
		values["network"] = networksOf(server, configured)
	}
	return setAll(d, values)
}

func deleteServer(ctx context.Context, d *schema.ResourceData, meta any) diag.Diagnostics {
	client := meta.(*hcloud.Client)
	id, problem := numericID(d)
	if problem != nil {
		return problem
	}
	server := &hcloud.Server{ID: id}
	if d.Get("shutdown_before_deletion").(bool) {
		if err := shutdown(ctx, client, server); err != nil {
			return failure(err)
		}
	}
	result, _, err := client.Server.DeleteWithResult(ctx, server)
	if err != nil {
		// A 404 here is an error too; only a refresh takes a vanished server out of the state.
		return failure(err)
	}
	if err := waitFor(ctx, client, result.Action); err != nil {
		return failure(err)
	}
	return nil
}

// shutdown asks the machine to stop and looks five times, 1 to 16 s apart, whether it did; deletion follows anyway.
func shutdown(ctx context.Context, client *hcloud.Client, server *hcloud.Server) error {
	action, _, err := client.Server.Shutdown(ctx, server)
	if err != nil {
		return err
	}
	if err := waitFor(ctx, client, action); err != nil {
		return err
	}
	for try := range 5 {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Second << try):
		}
		current, _, err := client.Server.GetByID(ctx, server.ID)
		if err != nil {
			return err
		}
		if current == nil || current.Status == hcloud.ServerStatusOff {
			return nil
		}
	}
	return nil
}

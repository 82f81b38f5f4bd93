package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/hashicorp/terraform-plugin-sdk/v2/diag"
	"github.com/hashicorp/terraform-plugin-sdk/v2/helper/schema"
	"github.com/hetznercloud/hcloud-go/v2/hcloud"
	"github.com/hetznercloud/hcloud-go/v2/hcloud/exp/deprecationutil"
)

func createServer(ctx context.Context, d *schema.ResourceData, meta any) diag.Diagnostics {
	client := meta.(*hcloud.Client)
	options, typeWarned, problems := serverOrder(ctx, client, d)
	if problems.HasError() {
		return problems
	}
	result, _, err := client.Server.Create(ctx, options)
	if err != nil {
		return append(problems, failure(err)...)
	}
	// Before any waiting: whatever fails from here on leaves the server in the state, tainted.
	d.SetId(formatID(result.Server.ID))
	if !typeWarned {
		// Only now the location is known, if the configuration has none.
		problems = append(problems, typeDeprecation(result.Server.ServerType, result.Server.Location.Name, diag.Warning)...)
	}
	if err := waitFor(ctx, client, append([]*hcloud.Action{result.Action}, result.NextActions...)...); err != nil {
		return append(problems, failure(err)...)
	}
	if err := finishServer(ctx, client, d, result.Server, options); err != nil {
		return append(problems, failure(err)...)
	}
	return append(problems, readServer(ctx, d, meta)...)
}

// serverOrder is what POST /servers is asked for; all that it needs to know is looked up first. The second value is
// whether the diagnostics, errors or warnings, have one about the server type.
func serverOrder(ctx context.Context, client *hcloud.Client, d *schema.ResourceData) (hcloud.ServerCreateOpts, bool, diag.Diagnostics) {
	// Recorded: the type goes out as its name, though it was looked up, and the image as its id.
	options := hcloud.ServerCreateOpts{
		Name: d.Get("name").(string), ServerType: &hcloud.ServerType{Name: d.Get("server_type").(string)},
		UserData: d.Get("user_data").(string), Labels: labelsOf(d),
	}
	serverType, _, err := client.ServerType.Get(ctx, d.Get("server_type").(string))
	if err != nil {
		return options, false, failure(err)
	}
	if serverType == nil {
		return options, false, diag.Errorf("server type %s not found", d.Get("server_type"))
	}
	options.Image, _, err = client.Image.GetForArchitecture(ctx, d.Get("image").(string), serverType.Architecture)
	if err != nil {
		return options, false, failure(err)
	}
	if options.Image == nil {
		return options, false, diag.Errorf("image %s for architecture %s not found", d.Get("image"), serverType.Architecture)
	}
	problems := imageDeprecation(options.Image)
	if problems.HasError() {
		return options, false, problems
	}
	location := d.Get("location").(string)
	if location != "" {
		options.Location = &hcloud.Location{Name: location}
	}
	ofType := typeDeprecation(serverType, location, diag.Error)
	problems = append(problems, ofType...)
	if problems.HasError() {
		return options, true, problems
	}
	if options.SSHKeys, err = sshKeysOf(ctx, client, d); err != nil {
		return options, false, append(problems, failure(err)...)
	}
	for _, id := range d.Get("firewall_ids").(*schema.Set).List() {
		firewall := hcloud.Firewall{ID: int64(id.(int))}
		options.Firewalls = append(options.Firewalls, &hcloud.ServerCreateFirewall{Firewall: firewall})
	}
	if id := numberOf(d, "placement_group_id"); id != 0 {
		if options.PlacementGroup, err = placementGroupOf(ctx, client, id); err != nil {
			return options, false, append(problems, failure(err)...)
		}
	}
	options.PublicNet = publicNetOf(d)
	if isolated(options, d) {
		off := false
		options.StartAfterCreate = &off
	}
	return options, len(ofType) > 0, problems
}

// finishServer is what has no place in POST /servers.
func finishServer(ctx context.Context, client *hcloud.Client, d *schema.ResourceData, server *hcloud.Server, options hcloud.ServerCreateOpts) error {
	for _, network := range d.Get("network").(*schema.Set).List() {
		if err := joinBlock(ctx, client, server, network.(map[string]any)); err != nil {
			return err
		}
	}
	if isolated(options, d) {
		if err := powerOn(ctx, client, server); err != nil {
			return err
		}
	}
	if err := setBackups(ctx, client, server, d.Get("backups").(bool)); err != nil {
		return err
	}
	if iso := d.Get("iso").(string); iso != "" {
		if err := setISO(ctx, client, server, iso); err != nil {
			return err
		}
	}
	if rescue := d.Get("rescue").(string); rescue != "" {
		if err := setRescue(ctx, client, server, rescue, options.SSHKeys); err != nil {
			return err
		}
	}
	if d.Get("delete_protection").(bool) || d.Get("rebuild_protection").(bool) {
		return setProtection(ctx, client, server, d)
	}
	return nil
}

// isolated is a server with private networks alone: it can only be started once it is in one.
func isolated(options hcloud.ServerCreateOpts, d *schema.ResourceData) bool {
	public := options.PublicNet
	return public != nil && !public.EnableIPv4 && !public.EnableIPv6 && d.Get("network").(*schema.Set).Len() > 0
}

func sshKeysOf(ctx context.Context, client *hcloud.Client, d *schema.ResourceData) ([]*hcloud.SSHKey, error) {
	var keys []*hcloud.SSHKey
	for _, reference := range d.Get("ssh_keys").([]any) {
		text, _ := reference.(string)
		key, _, err := client.SSHKey.Get(ctx, text)
		if err != nil {
			return nil, err
		}
		if key == nil {
			return nil, fmt.Errorf("SSH key not found: %s", text)
		}
		keys = append(keys, key)
	}
	return keys, nil
}

func imageDeprecation(image *hcloud.Image) diag.Diagnostics {
	message, unavailable := deprecationutil.ImageMessage(image)
	switch {
	case message == "":
		return nil
	case unavailable:
		return diag.Diagnostics{{Severity: diag.Error, Summary: "Image Unavailable", Detail: message + "."}}
	default:
		return diag.Diagnostics{{Severity: diag.Warning, Summary: "Image Deprecated", Detail: message + "."}}
	}
}

// typeDeprecation warns of a type that is on its way out, and of one that is out already with the given severity.
func typeDeprecation(serverType *hcloud.ServerType, location string, whenUnavailable diag.Severity) diag.Diagnostics {
	message, unavailable := deprecationutil.ServerTypeMessage(serverType, location)
	if message == "" {
		return nil
	}
	severity := diag.Warning
	if unavailable {
		severity = whenUnavailable
	}
	const detail = "Existing servers of that plan will continue to work as before and no action is required on your part. " +
		`It is possible to migrate this Server to another Server Type by using the "hcloud server change-type" command.`
	return diag.Diagnostics{{Severity: severity, Summary: message, Detail: detail}}
}

func readServer(ctx context.Context, d *schema.ResourceData, meta any) diag.Diagnostics {
	// Get, not GetByID: like the real provider this asks for a server *named* like the id after a 404.
	server, _, err := meta.(*hcloud.Client).Server.Get(ctx, d.Id())
	if err != nil {
		return failure(err)
	}
	if server == nil {
		d.SetId("")
		return nil
	}
	d.SetId(formatID(server.ID))
	values := serverValues(d, server)
	values["firewall_ids"] = firewallsOf(server)
	if d.Get("network").(*schema.Set).Len() > 0 {
		values["network"] = networksOf(server, d)
	}
	return setAll(d, values)
}

// serverValues are the attributes that the resource and the data source have in common.
func serverValues(d *schema.ResourceData, server *hcloud.Server) map[string]any {
	values := map[string]any{
		"name": server.Name, "server_type": server.ServerType.Name, "status": string(server.Status),
		"location": server.Location.Name, "labels": server.Labels,
		"backup_window": server.BackupWindow, "backups": server.BackupWindow != "",
		"delete_protection": server.Protection.Delete, "rebuild_protection": server.Protection.Rebuild,
		"primary_disk_size": server.PrimaryDiskSize, "placement_group_id": nil,
		"ipv4_address": nil, "ipv6_address": nil,
		// `<nil>` for a server without one: the state has that text.
		"ipv6_network": server.PublicNet.IPv6.Network.String(),
	}
	if server.PlacementGroup != nil {
		values["placement_group_id"] = int(server.PlacementGroup.ID)
	}
	if !server.PublicNet.IPv4.IsUnspecified() {
		values["ipv4_address"] = server.PublicNet.IPv4.IP.String()
	}
	if len(server.PublicNet.IPv6.IP) > 0 {
		values["ipv6_address"] = server.PublicNet.IPv6.IP.String() + "1"
	}
	if server.Image != nil {
		byID := formatID(server.Image.ID)
		values["image"] = byID
		if server.Image.Name != "" && d.Get("image").(string) != byID {
			values["image"] = server.Image.Name
		}
	}
	return values
}

func firewallsOf(server *hcloud.Server) []int {
	firewalls := []int{}
	for _, status := range server.PublicNet.Firewalls {
		firewalls = append(firewalls, int(status.Firewall.ID))
	}
	return firewalls
}

func deleteServer(ctx context.Context, d *schema.ResourceData, meta any) diag.Diagnostics {
	client := meta.(*hcloud.Client)
	id, ok := numericID(d)
	if !ok {
		return nil
	}
	server := &hcloud.Server{ID: id}
	var warnings diag.Diagnostics
	if d.Get("shutdown_before_deletion").(bool) {
		if err := finished(ctx, client)(client.Server.Shutdown(ctx, server)); err != nil {
			return failure(err)
		}
		if !wentOff(ctx, client, server) {
			warnings = append(warnings, diag.Diagnostic{Severity: diag.Warning, Summary: fmt.Sprintf(
				"Server id %d did not finish shutting down gracefully in time, deleting it anyways.", id)})
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
	return warnings
}

// wentOff looks five times, 1, 2, 4 and 8 s apart, whether the server has shut down.
func wentOff(ctx context.Context, client *hcloud.Client, server *hcloud.Server) bool {
	stillOn := errors.New("still on")
	err := retried(ctx, usualTries, func(err error) bool { return err == stillOn }, func() error {
		current, _, err := client.Server.GetByID(ctx, server.ID)
		if err == nil && current != nil && current.Status != hcloud.ServerStatusOff {
			return stillOn
		}
		return err
	})
	return err == nil
}

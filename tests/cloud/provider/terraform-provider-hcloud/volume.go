package main

import (
	"context"
	"errors"
	"strings"

	"github.com/hashicorp/terraform-plugin-sdk/v2/diag"
	"github.com/hashicorp/terraform-plugin-sdk/v2/helper/schema"
	"github.com/hetznercloud/hcloud-go/v2/hcloud"
)

func volumeResource() *schema.Resource {
	return &schema.Resource{
		CreateContext: createVolume, ReadContext: readVolume, UpdateContext: updateVolume, DeleteContext: deleteVolume,
		Importer: &schema.ResourceImporter{StateContext: schema.ImportStatePassthroughContext},
		Schema: map[string]*schema.Schema{
			"name":              {Type: schema.TypeString, Required: true},
			"size":              {Type: schema.TypeInt, Required: true},
			"location":          {Type: schema.TypeString, Optional: true, Computed: true, ForceNew: true},
			"server_id":         {Type: schema.TypeInt, Optional: true, Computed: true},
			"labels":            labelsSchema(false),
			"linux_device":      {Type: schema.TypeString, Computed: true},
			"automount":         {Type: schema.TypeBool, Optional: true},
			"format":            {Type: schema.TypeString, Optional: true},
			"delete_protection": {Type: schema.TypeBool, Optional: true, Default: false},
		},
	}
}

func createVolume(ctx context.Context, d *schema.ResourceData, meta any) diag.Diagnostics {
	client := meta.(*hcloud.Client)
	options := hcloud.VolumeCreateOpts{
		Name: d.Get("name").(string), Size: d.Get("size").(int), Labels: labelsOf(d),
		Automount: automountOf(d), Format: given(d.Get("format")),
	}
	if id := numberOf(d, "server_id"); id != 0 {
		options.Server = &hcloud.Server{ID: id}
	}
	if location := d.Get("location").(string); location != "" {
		options.Location = &hcloud.Location{Name: location}
	}
	result, err := orderVolume(ctx, client, options)
	if err != nil {
		return failure(err)
	}
	d.SetId(formatID(result.Volume.ID))
	if err := waitFor(ctx, client, result.Action); err != nil {
		return failure(err)
	}
	for _, action := range result.NextActions {
		err := waitFor(ctx, client, action)
		if err != nil && lostRace(action, err) {
			err = attachVolume(ctx, client, result.Volume, hcloud.VolumeAttachOpts{Server: options.Server})
		}
		if err != nil {
			return failure(err)
		}
	}
	if d.Get("delete_protection").(bool) {
		if err := protectVolume(ctx, client, result.Volume, true); err != nil {
			return failure(err)
		}
	}
	return readVolume(ctx, d, meta)
}

// orderVolume repeats the order at once, and without end, while the server is locked.
func orderVolume(ctx context.Context, client *hcloud.Client, options hcloud.VolumeCreateOpts) (hcloud.VolumeCreateResult, error) {
	for {
		result, _, err := client.Volume.Create(ctx, options)
		if !hcloud.IsError(err, hcloud.ErrorCodeLocked) || ctx.Err() != nil {
			return result, err
		}
	}
}

// lostRace is whether the server was locked by another volume that was being attached.
func lostRace(action *hcloud.Action, err error) bool {
	var failed hcloud.ActionError
	return action.Command == "attach_volume" && errors.As(err, &failed) &&
		strings.Contains(failed.Message, string(hcloud.ErrorCodeLocked))
}

// automountOf is nil for false too, which the SDK cannot tell from "not given".
func automountOf(d *schema.ResourceData) *bool {
	if automount := d.Get("automount").(bool); automount {
		return &automount
	}
	return nil
}

func attachVolume(ctx context.Context, client *hcloud.Client, volume *hcloud.Volume, options hcloud.VolumeAttachOpts) error {
	return retried(ctx, usualTries, anyError, func() error {
		return finished(ctx, client)(client.Volume.AttachWithOpts(ctx, volume, options))
	})
}

func detachVolume(ctx context.Context, client *hcloud.Client, volume *hcloud.Volume) error {
	return retried(ctx, usualTries, anyError, func() error {
		err := finished(ctx, client)(client.Volume.Detach(ctx, volume))
		if hcloud.IsError(err, hcloud.ErrorCodeNotFound) {
			return nil
		}
		return err
	})
}

func protectVolume(ctx context.Context, client *hcloud.Client, volume *hcloud.Volume, on bool) error {
	return finished(ctx, client)(client.Volume.ChangeProtection(ctx, volume, hcloud.VolumeChangeProtectionOpts{Delete: &on}))
}

// presentVolume takes the resource out of the state when there is no such volume.
func presentVolume(ctx context.Context, d *schema.ResourceData, client *hcloud.Client) (*hcloud.Volume, error) {
	id, ok := numericID(d)
	if !ok {
		return nil, nil
	}
	volume, _, err := client.Volume.GetByID(ctx, id)
	if err == nil && volume == nil {
		d.SetId("")
	}
	return volume, err
}

func readVolume(ctx context.Context, d *schema.ResourceData, meta any) diag.Diagnostics {
	volume, err := presentVolume(ctx, d, meta.(*hcloud.Client))
	if err != nil || volume == nil {
		return failure(err)
	}
	values := map[string]any{
		"name": volume.Name, "size": volume.Size, "location": volume.Location.Name, "labels": volume.Labels,
		"linux_device": volume.LinuxDevice, "delete_protection": volume.Protection.Delete,
	}
	// The real provider keeps the last server in the state when others detached the volume.
	if volume.Server != nil {
		values["server_id"] = int(volume.Server.ID)
	}
	return setAll(d, values)
}

func updateVolume(ctx context.Context, d *schema.ResourceData, meta any) diag.Diagnostics {
	client := meta.(*hcloud.Client)
	volume, err := presentVolume(ctx, d, client)
	if err != nil || volume == nil {
		return failure(err)
	}
	update := func(options hcloud.VolumeUpdateOpts) error {
		_, _, err := client.Volume.Update(ctx, volume, options)
		return err
	}
	problem, done := takeSteps(d,
		step{d.HasChange("name"), true, func() error {
			return update(hcloud.VolumeUpdateOpts{Name: d.Get("name").(string)})
		}},
		step{d.HasChange("server_id"), true, func() error { return moveVolume(ctx, client, volume, d) }},
		step{d.HasChange("size"), true, func() error {
			return finished(ctx, client)(client.Volume.Resize(ctx, volume, d.Get("size").(int)))
		}},
		step{d.HasChange("labels"), true, func() error {
			return update(hcloud.VolumeUpdateOpts{Labels: changedLabels(d)})
		}},
		step{d.HasChange("delete_protection"), false, func() error {
			return protectVolume(ctx, client, volume, d.Get("delete_protection").(bool))
		}},
	)
	if !done {
		return problem
	}
	return readVolume(ctx, d, meta)
}

func moveVolume(ctx context.Context, client *hcloud.Client, volume *hcloud.Volume, d *schema.ResourceData) error {
	id := numberOf(d, "server_id")
	if id == 0 || volume.Server != nil {
		if err := detachVolume(ctx, client, volume); err != nil || id == 0 {
			return err
		}
	}
	return attachVolume(ctx, client, volume, hcloud.VolumeAttachOpts{Server: &hcloud.Server{ID: id}, Automount: automountOf(d)})
}

func deleteVolume(ctx context.Context, d *schema.ResourceData, meta any) diag.Diagnostics {
	client := meta.(*hcloud.Client)
	volume, err := presentVolume(ctx, d, client)
	if err != nil || volume == nil {
		return failure(err)
	}
	if volume.Server != nil {
		if err := detachVolume(ctx, client, volume); err != nil {
			return failure(err)
		}
	}
	return failure(retried(ctx, usualTries, anyError, func() error {
		_, err := client.Volume.Delete(ctx, volume)
		if hcloud.IsError(err, hcloud.ErrorCodeNotFound) {
			return nil
		}
		return err
	}))
}
